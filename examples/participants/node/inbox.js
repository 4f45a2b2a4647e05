// The contract: what is answered to a command, in one transaction with its effect. Rules are those of docs/protocol.md.
const { createHash } = require("crypto")
const { Rejected, execute, reverse } = require("./ledger")

class Expired extends Error {}

async function answer(db, h, value) { // inside a transaction: rule 2
  const op = h["saga-op"], key = h["saga-key"], fwd = h["saga-fwd-key"]
  const sum = createHash("sha256").update(`${op} ${h["saga-cmd"]} `).update(value).digest("hex")
  let was, out = "ok", body = {}
  if (op !== "do") { // rules 4, 9: forbid a do that comes later; wait for one that is running
    await db.query(`insert into inbox(k, outcome, body) values($1, 'rejected', '{"code": "SUPPRESSED"}') on conflict do nothing`, [fwd])
    was = (await db.query("select outcome, body, undone from inbox where k = $1 for update", [fwd])).rows[0]
  }
  if (op === "inquire") return was.outcome === "ok" && !was.undone ? ["executed", was.body] : ["not-executed", {}]
  if ((await db.query("insert into inbox(k, sum) values($1, $2) on conflict do nothing", [key, sum])).rowCount === 0) { // rules 3, 5, 10
    const row = (await db.query("select outcome, body, sum from inbox where k = $1", [key])).rows[0]
    return row.sum === null || row.sum === sum ? [row.outcome, row.body] : ["failed-fatal", { code: "KEY_REUSED" }]
  }
  if (op === "do" && Date.now() > Number(h["saga-deadline"])) throw new Expired() // rule 6: the row is rolled back
  await db.query("savepoint work") // a refusal leaves no change
  try {
    if (op === "do") body = await execute(db, h, JSON.parse(value.length ? value : "{}"))
    else if (was.outcome === "rejected" || was.undone) body = was.undone ? {} : { noop: "true" }
    else body = await reverse(db, h)
    if (op === "undo" && was.outcome === "ok") await db.query("update inbox set undone = true where k = $1", [fwd])
  } catch (no) {
    if (!(no instanceof Rejected)) throw no
    await db.query("rollback to work")
    ;[out, body] = ["rejected", { code: no.message }]
  }
  await db.query("update inbox set outcome = $1, body = $2 where k = $3", [out, body, key])
  return [out, body]
}

module.exports = { answer, Expired }
