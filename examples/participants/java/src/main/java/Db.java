import java.sql.*;
import java.util.*;

/** A connection whose statements take one line each. */
record Db(Connection connection) {
  int update(String sql, Object... args) throws SQLException {
    try (var q = prepare(sql, args)) {
      return q.executeUpdate();
    }
  }

  /** The one row of a query, as text. */
  List<String> row(String sql, Object... args) throws SQLException {
    try (var q = prepare(sql, args)) {
      var rs = q.executeQuery();
      rs.next();
      List<String> cells = new ArrayList<>();
      for (int i = 1; i <= rs.getMetaData().getColumnCount(); i++) cells.add(rs.getString(i));
      return cells;
    }
  }

  private PreparedStatement prepare(String sql, Object... args) throws SQLException {
    var q = connection.prepareStatement(sql);
    for (int i = 0; i < args.length; i++) q.setObject(i + 1, args[i]);
    return q;
  }
}
