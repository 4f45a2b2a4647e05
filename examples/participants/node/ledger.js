// The business of this example: a ledger with a line per effect. db is in the transaction, h are the headers.

class Rejected extends Error {} // a business no

async function execute(db, h, value) { // of a do
  if (value.amount > 1_000_000) throw new Rejected("OVER_LIMIT")
  await new Promise((done) => setTimeout(done, value.sleepMs || 0))
  const r = await db.query("insert into ledger(wid, command, k, amount) values($1, $2, $3, $4) returning id",
    [h["saga-wid"], h["saga-cmd"], h["saga-key"], value.amount || 0])
  return { id: String(r.rows[0].id) }
}

async function reverse(db, h) { // of an undo: a line that takes the first one back
  await db.query("insert into ledger(wid, command, k, fwd, amount) select wid, $1, $2, k, -amount from ledger where k = $3",
    [h["saga-cmd"], h["saga-key"], h["saga-fwd-key"]])
  return {}
}

module.exports = { Rejected, execute, reverse }
