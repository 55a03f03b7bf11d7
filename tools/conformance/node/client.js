// One of the conformance run's clients: KafkaJS.
//
//   client.js produce BOOTSTRAP TOPIC PARTITIONS CODEC lines|files keyed|unkeyed PATH
//   client.js consume BOOTSTRAP OUT_DIR PARTITIONS TOPIC...
//   client.js group BOOTSTRAP GROUP TOPIC      a member until its input ends: prints each record, commits what it has read
//
// As the other clients: record i goes to partition i modulo PARTITIONS; what is consumed is framed into OUT_DIR/TOPIC-PARTITION.
// KafkaJS consumes through groups only, so consuming asks its own brokers layer for Fetch, and its own decoder for the records.
'use strict'
const fs = require('fs')
const path = require('path')
const { createRequire } = require('module')
// NODE_MODULES is where `cargo xtask setup` installed the packages.
const load = createRequire(path.join(process.env.NODE_MODULES, 'from.js'))
const { Kafka, CompressionTypes, CompressionCodecs, Partitioners, logLevel } = load('kafkajs')
const SnappyJS = load('snappyjs')
const lz4 = load('lz4js')
const xxhash = load('lz4js/xxh32.js')
const zstd = load('@bokuweb/zstd-wasm')

const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])

function unsnap(buffer) {
  if (!buffer.subarray(0, 8).equals(XERIAL)) return Buffer.from(SnappyJS.uncompress(buffer))
  const blocks = []
  for (let at = 16; at < buffer.length; ) {
    const size = buffer.readInt32BE(at)
    blocks.push(Buffer.from(SnappyJS.uncompress(buffer.subarray(at + 4, at + 4 + size))))
    at += 4 + size
  }
  return Buffer.concat(blocks)
}

// One block, greedily: the library's own compressor ends blocks in a way that strict readers refuse (the last match must begin 12
// bytes before the end or earlier, the last 5 bytes are literals), and its frames declare dependent blocks, which Kafka refuses.
function lz4Block(block) {
  const out = Buffer.alloc(lz4.compressBound(block.length))
  const seen = new Int32Array(1 << 14).fill(-1)
  let to = 0
  let anchor = 0
  const length = (rest, room) => {
    for (rest -= room; rest >= 255; rest -= 255) out[to++] = 255
    out[to++] = rest
  }
  const sequence = (literals, match, distance) => {
    out[to++] = (Math.min(literals, 15) << 4) | Math.min(match, 15)
    if (literals >= 15) length(literals, 15)
    to += block.copy(out, to, anchor, anchor + literals)
    if (distance === 0) return
    out.writeUInt16LE(distance, to)
    to += 2
    if (match >= 15) length(match, 15)
  }
  for (let at = 0; at + 12 < block.length; ) {
    const word = block.readUInt32LE(at)
    const slot = Math.imul(word, 2654435761) >>> 18
    const found = seen[slot]
    seen[slot] = at
    if (found < 0 || at - found > 65535 || block.readUInt32LE(found) !== word) {
      at++
      continue
    }
    let end = at + 4
    while (end < block.length - 5 && block[end] === block[end - (at - found)]) end++
    sequence(at - anchor, end - at - 4, at - found)
    at = anchor = end
  }
  sequence(block.length - anchor, 0, 0)
  return out.subarray(0, to)
}

// A frame of independent blocks of 64 KiB at most.
function lz4Frame(buffer) {
  const head = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0])
  head[6] = (xxhash.hash(0, head, 4, 2) >> 8) & 0xff
  const pieces = [head]
  for (let at = 0; at < buffer.length; at += 65536) {
    const block = buffer.subarray(at, at + 65536)
    const packed = lz4Block(block)
    const length = Buffer.alloc(4)
    // A block that does not become smaller is stored as it is, with the high bit of its length set.
    length.writeUInt32LE(packed.length < block.length ? packed.length : (block.length | 0x80000000) >>> 0)
    pieces.push(length, packed.length < block.length ? packed : block)
  }
  return Buffer.concat([...pieces, Buffer.alloc(4)])
}

CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async encoder => Buffer.from(SnappyJS.compress(encoder.buffer)),
  decompress: async buffer => unsnap(buffer),
})
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4Frame(encoder.buffer),
  decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
})
// The room the decoder gets for a frame that does not say how much is in it, such as those of the Java client.
const EXPANDED_BYTES_MAX = 64 << 20
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer, { defaultHeapSize: EXPANDED_BYTES_MAX })),
})

const codecs = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }

function values(mode, from) {
  const content = fs.readFileSync(from)
  const parts = []
  for (let at = 0; at < content.length; ) {
    const end = content.indexOf(10, at)
    parts.push(content.subarray(at, end < 0 ? content.length : end))
    at = end < 0 ? content.length : end + 1
  }
  return mode === 'files' ? parts.map(name => fs.readFileSync(name)) : parts
}

async function produce([bootstrap, topic, partitions, codec, mode, keyed, from]) {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR })
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  let messages = []
  let bytes = 0
  const send = async () => {
    if (messages.length > 0) await producer.send({ topic, messages, acks: -1, compression: CompressionTypes[codecs[codec]] })
    messages = []
    bytes = 0
  }
  let n = 0
  for (const value of values(mode, from)) {
    if (bytes > 0 && bytes + value.length > 400000) await send()
    messages.push({ key: keyed === 'keyed' ? String(n) : null, value, partition: n % Number(partitions) })
    bytes += value.length + 20
    n++
  }
  await send()
  await producer.disconnect()
}

function field(value) {
  const length = Buffer.alloc(4)
  length.writeInt32BE(value === null ? -1 : value.length)
  return value === null ? length : Buffer.concat([length, value])
}

async function consume([bootstrap, out, partitions, ...topics]) {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR })
  const admin = kafka.admin()
  await admin.connect()
  const Cluster = load('kafkajs/src/cluster')
  const { createLogger } = load('kafkajs/src/loggers')
  const socketFactory = load('kafkajs/src/network/socketFactory')()
  const logger = createLogger({ level: logLevel.ERROR, logCreator: load('kafkajs/src/loggers/console') })
  const cluster = new Cluster({
    brokers: [bootstrap], logger, socketFactory, connectionTimeout: 10000, authenticationTimeout: 10000, requestTimeout: 30000,
    enforceRequestTimeout: false, metadataMaxAge: 300000, maxInFlightRequests: 5, offsets: new Map(), retry: {},
  })
  await cluster.connect()
  await cluster.addMultipleTargetTopics(topics)
  const broker = await cluster.findControllerBroker()
  for (const topic of topics) {
    for (const { partition, high } of await admin.fetchTopicOffsets(topic)) {
      const file = fs.openSync(path.join(out, `${topic}-${partition}`), 'w')
      for (let offset = 0; offset < Number(high); ) {
        const fetched = await broker.fetch({
          replicaId: -1, isolationLevel: 0, maxWaitTime: 1000, minBytes: 1, maxBytes: 4 << 20, rackId: '',
          topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: 4 << 20 }] }],
        })
        const pieces = []
        for (const answer of fetched.responses[0].partitions) {
          for (const message of answer.messages) {
            if (Number(message.offset) < offset) continue
            if (Number(message.offset) !== offset) throw new Error(`${topic}-${partition}: ${message.offset} where ${offset} was due`)
            pieces.push(field(message.key), field(message.value))
            offset++
          }
        }
        fs.writeSync(file, Buffer.concat(pieces))
      }
      fs.closeSync(file)
    }
  }
  await cluster.disconnect()
  await admin.disconnect()
}

async function group([bootstrap, groupId, topic]) {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR })
  const consumer = kafka.consumer({ groupId, heartbeatInterval: 500 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: true,
    autoCommitThreshold: 1,
    eachMessage: async ({ partition, message }) => { process.stdout.write(`record ${partition} ${message.offset}\n`) },
  })
  await new Promise(resolve => { process.stdin.on('end', resolve); process.stdin.resume() })
  await consumer.disconnect()
}

async function main() {
  await zstd.init()
  const [role, ...args] = process.argv.slice(2)
  await { produce, consume, group }[role](args)
}

main().then(() => process.exit(0), error => {
  console.error(error)
  process.exit(1)
})
