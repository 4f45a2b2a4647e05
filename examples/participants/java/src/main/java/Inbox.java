import com.fasterxml.jackson.databind.ObjectMapper;
import java.security.MessageDigest;
import java.util.*;

/** The contract: what is answered to a command, in one transaction with its effect (rule 2). */
class Inbox {
  static final ObjectMapper JSON = new ObjectMapper();
  static class Expired extends Exception {}
  record Answer(String outcome, Map<String, String> body) {}

  static Answer answer(Db db, Map<String, String> h, byte[] value) throws Exception {
    String op = h.get("saga-op"), key = h.get("saga-key"), fwd = h.get("saga-fwd-key");
    MessageDigest d = MessageDigest.getInstance("SHA-256");
    d.update((op + " " + h.get("saga-cmd") + " ").getBytes());
    String sum = HexFormat.of().formatHex(d.digest(value));
    List<String> was = null;
    if (!op.equals("do")) { // rules 4, 9: forbid a do that comes later; wait for one that is running
      db.update("insert into inbox(k, outcome, body) values(?, 'rejected', '{\"code\": \"SUPPRESSED\"}') on conflict do nothing", fwd);
      was = db.row("select outcome, body, undone from inbox where k = ? for update", fwd);
    }
    boolean undone = was != null && was.get(2).equals("t");
    if (op.equals("inquire")) return was.get(0).equals("ok") && !undone ? new Answer("executed", map(was.get(1))) : new Answer("not-executed", Map.of());
    if (db.update("insert into inbox(k, sum) values(?, ?) on conflict do nothing", key, sum) == 0) { // rules 3, 5, 10
      List<String> row = db.row("select outcome, body, sum from inbox where k = ?", key);
      boolean same = row.get(2) == null || row.get(2).equals(sum);
      return same ? new Answer(row.get(0), map(row.get(1))) : new Answer("failed-fatal", Map.of("code", "KEY_REUSED"));
    }
    if (op.equals("do") && System.currentTimeMillis() > Long.parseLong(h.get("saga-deadline"))) throw new Expired(); // rule 6: the row is rolled back
    Answer a;
    var work = db.connection().setSavepoint(); // a refusal leaves no change
    try {
      if (op.equals("do")) a = new Answer("ok", Ledger.execute(db, h, JSON.readTree(value.length == 0 ? "{}".getBytes() : value)));
      else if (undone || was.get(0).equals("rejected")) a = new Answer("ok", undone ? Map.of() : Map.of("noop", "true"));
      else a = new Answer("ok", Ledger.reverse(db, h));
      if (op.equals("undo") && was.get(0).equals("ok")) db.update("update inbox set undone = true where k = ?", fwd);
    } catch (Ledger.Rejected no) {
      db.connection().rollback(work);
      a = new Answer("rejected", Map.of("code", no.getMessage()));
    }
    db.update("update inbox set outcome = ?, body = ?::jsonb where k = ?", a.outcome, JSON.writeValueAsString(a.body), key);
    return a;
  }

  @SuppressWarnings("unchecked")
  static Map<String, String> map(String json) throws Exception { return JSON.readValue(json, Map.class); }
}
