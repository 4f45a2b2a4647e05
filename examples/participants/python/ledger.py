"""The business of this example: a ledger with a line per effect. q is the cursor of the transaction, h the headers."""
import time

class Rejected(Exception): pass  # a business no

def execute(q, h, value):  # of a do
    if value.get("amount", 0) > 1_000_000:
        raise Rejected("OVER_LIMIT")
    time.sleep(value.get("sleepMs", 0) / 1000)
    q.execute("insert into ledger(wid, command, k, amount) values(%s, %s, %s, %s) returning id",
              (h["saga-wid"], h["saga-cmd"], h["saga-key"], value.get("amount", 0)))
    return {"id": str(q.fetchone()[0])}

def reverse(q, h):  # of an undo: a line that takes the first one back
    q.execute("insert into ledger(wid, command, k, fwd, amount) select wid, %s, %s, k, -amount from ledger where k = %s",
              (h["saga-cmd"], h["saga-key"], h["saga-fwd-key"]))
    return {}
