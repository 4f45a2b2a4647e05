import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;

/** The business of this example: a ledger with a line per effect. db is in the transaction, h are the headers. */
class Ledger {
  static class Rejected extends Exception { // a business no
    Rejected(String code) { super(code); }
  }

  /** Of a do. The result is its output. */
  static Map<String, String> execute(Db db, Map<String, String> h, JsonNode value) throws Exception {
    if (value.path("amount").asLong() > 1_000_000) throw new Rejected("OVER_LIMIT");
    Thread.sleep(value.path("sleepMs").asLong());
    return Map.of("id", db.row("insert into ledger(wid, command, k, amount) values(?, ?, ?, ?) returning id",
        h.get("saga-wid"), h.get("saga-cmd"), h.get("saga-key"), value.path("amount").asLong()).get(0));
  }

  /** Of an undo: a line that takes the first one back. */
  static Map<String, String> reverse(Db db, Map<String, String> h) throws Exception {
    db.update("insert into ledger(wid, command, k, fwd, amount) select wid, ?, ?, k, -amount from ledger where k = ?",
        h.get("saga-cmd"), h.get("saga-key"), h.get("saga-fwd-key"));
    return Map.of();
  }
}
