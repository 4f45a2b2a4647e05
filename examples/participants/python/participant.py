"""A participant over PostgreSQL: see README.md and docs/protocol.md, whose rules are named below."""
import hashlib, json, os, time
import psycopg
from confluent_kafka import Consumer, Producer
from ledger import Rejected, execute, reverse

class Expired(Exception): pass

def answer(db, h, value):
    op, key, fwd = h["saga-op"], h["saga-key"], h.get("saga-fwd-key")
    total = hashlib.sha256(f"{op} {h['saga-cmd']} ".encode() + value).hexdigest()
    with db.transaction(), db.cursor() as q:  # rule 2
        if op != "do":  # rules 4, 9: forbid a do that comes later; wait for one that is running
            q.execute("insert into inbox(k, outcome, body) values(%s, 'rejected', '{\"code\": \"SUPPRESSED\"}') on conflict do nothing", (fwd,))
            q.execute("select outcome, body, undone from inbox where k = %s for update", (fwd,))
            was, body, undone = q.fetchone()
        if op == "inquire":
            return ("executed", body) if was == "ok" and not undone else ("not-executed", {})
        q.execute("insert into inbox(k, sum) values(%s, %s) on conflict do nothing", (key, total))
        if q.rowcount == 0:  # rules 3, 5, 10
            q.execute("select outcome, body, sum from inbox where k = %s", (key,))
            out, body, before = q.fetchone()
            return (out, body) if before in (None, total) else ("failed-fatal", {"code": "KEY_REUSED"})
        if op == "do" and time.time() * 1000 > int(h["saga-deadline"]):
            raise Expired  # rule 6: the row is rolled back
        try:
            with db.transaction():  # a savepoint: a refusal leaves no change
                if op == "do":
                    out, body = "ok", execute(q, h, json.loads(value or b"{}"))
                elif was == "rejected" or undone:
                    out, body = "ok", {} if undone else {"noop": "true"}
                else:
                    out, body = "ok", reverse(q, h)
                    q.execute("update inbox set undone = true where k = %s", (fwd,))
        except Rejected as no:
            out, body = "rejected", {"code": str(no)}
        q.execute("update inbox set outcome = %s, body = %s where k = %s", (out, json.dumps(body), key))
        return out, body

def sent(err, _):
    if err: raise SystemExit(f"reply not sent: {err}")  # the offset stays: the command comes again

def serve(name, brokers, dsn):
    c = Consumer({"bootstrap.servers": brokers, "group.id": name, "auto.offset.reset": "earliest", "session.timeout.ms": 6000,
                  "enable.auto.commit": False, "isolation.level": "read_committed", "group.instance.id": os.environ.get("INSTANCE")})  # rule 1
    p = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
    c.subscribe(["cmd." + name]); db = psycopg.connect(dsn, autocommit=True)
    while True:
        batch = c.consume(100, 0.05)  # no longer, or each command waits for a hundredth one
        for h, value in (({k: v.decode() for k, v in m.headers() or []}, m.value() or b"") for m in batch if not m.error()):
            if not {"saga-token", "saga-wid", "saga-reply-to", "saga-reply-partition"} <= h.keys(): continue  # rule 10: nobody to answer
            try: out, body = answer(db, h, value)
            except Expired: out, body = "failed-retriable", {"code": "EXPIRED", "effect": "none"}
            except (KeyError, ValueError): out, body = "failed-fatal", {"code": "BAD_COMMAND"}
            except Exception as e:
                if db.closed: raise  # start again; the commands come again
                out, body = "failed-retriable", {"code": type(e).__name__}
            extra = [("saga-" + k, body[k]) for k in ("noop", "effect", "code") if k in body]
            p.produce(h["saga-reply-to"], json.dumps(body), h["saga-wid"], int(h["saga-reply-partition"]), on_delivery=sent,
                      headers=[("saga-token", h["saga-token"]), ("saga-outcome", out), ("content-type", "application/json")] + extra)
        p.flush()
        if batch: c.commit(asynchronous=False)  # rule 2: after the replies

serve(os.environ.get("PARTICIPANT", "stock"), os.environ["BROKERS"], os.environ["PG_DSN"])
