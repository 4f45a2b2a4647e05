// A participant over PostgreSQL: see README.md and docs/protocol.md, whose rules are named below.
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs")
const lz4 = require("lz4js")
const { Client } = require("pg")
const { answer, Expired } = require("./inbox")

// kafkajs itself reads gzip only, and the orchestrator's batches are lz4.
CompressionCodecs[CompressionTypes.LZ4] = () => ({ compress: async (e) => Buffer.from(lz4.compress(e.buffer)), decompress: async (b) => Buffer.from(lz4.decompress(b)) })

async function reply(db, h, value) {
  let out, body
  try {
    await db.query("begin")
    ;[out, body] = await answer(db, h, value)
    await db.query("commit")
  } catch (e) {
    await db.query("rollback") // when this fails too, the process ends and the command comes again
    ;[out, body] = e instanceof Expired ? ["failed-retriable", { code: "EXPIRED", effect: "none" }]
      : e instanceof SyntaxError ? ["failed-fatal", { code: "BAD_COMMAND" }] : ["failed-retriable", { code: e.code || e.name }]
  }
  const headers = { "saga-token": h["saga-token"], "saga-outcome": out, "content-type": "application/json" }
  for (const k of ["noop", "effect", "code"]) if (k in body) headers["saga-" + k] = body[k]
  return { topic: h["saga-reply-to"], messages: [{ key: h["saga-wid"], value: JSON.stringify(body), partition: Number(h["saga-reply-partition"]), headers }] }
}

async function serve(name, brokers, dsn) {
  const kafka = new Kafka({ clientId: name, brokers: brokers.split(","), logLevel: logLevel.WARN })
  const db = new Client(dsn), producer = kafka.producer({ idempotent: true })
  const consumer = kafka.consumer({ groupId: name, readUncommitted: false, sessionTimeout: 6000, heartbeatInterval: 1000 }) // rule 1
  await Promise.all([db.connect(), producer.connect(), consumer.connect()])
  consumer.on("consumer.crash", (e) => e.payload.restart || process.exit(1))
  await consumer.subscribe({ topic: "cmd." + name, fromBeginning: true })
  await consumer.run({ autoCommit: false, eachBatch: async ({ batch, heartbeat }) => {
    const replies = []
    for (const m of batch.messages) {
      const h = Object.fromEntries(Object.entries(m.headers || {}).map(([k, v]) => [k, v.toString()]))
      const known = ["saga-token", "saga-wid", "saga-reply-to", "saga-reply-partition"].every((k) => k in h)
      if (known) replies.push(await reply(db, h, m.value || Buffer.alloc(0))) // else rule 10: nobody to answer
      await heartbeat()
    }
    if (replies.length) await producer.sendBatch({ acks: -1, topicMessages: replies })
    await consumer.commitOffsets([{ topic: batch.topic, partition: batch.partition, offset: String(BigInt(batch.lastOffset()) + 1n) }]) // rule 2
  } })
}

serve(process.env.PARTICIPANT || "stock", process.env.BROKERS, process.env.PG_DSN).catch((e) => { console.error(e); process.exit(1) })
