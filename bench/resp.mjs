// The RESP gateway alone: ns per command to parse, put into blocks and encode the replies, with a port and a cluster that
// do nothing. Run after the build: `node bench/resp.mjs [--groups K] [--json]`. 50 connections, keys of 16 bytes, values of 3,
// as redis-benchmark has them. With groups the gateway decides by the keys which of K + 1 streams a command goes through.

import { ByteWriter } from "../dist/base/index.js";
import { createRespGateway } from "../dist/gateway/index.js";
import { beginReply, BlockKind, endReply, REPLY_HEADER_BYTES, ReplyStatus } from "../dist/model/index.js";
import { kvMapping, replyBulkLatin1, replyInteger, replyNil, replyOk } from "../dist/service/index.js";

const connections = 50;
const turns = 200;
const repetitions = 15;
const warmUps = 5;
const json = process.argv.includes("--json");
const groups = process.argv.includes("--groups") ? Number(process.argv[process.argv.indexOf("--groups") + 1]) : 1;

/** Runs the one turn of the gateway when told to. */
class ManualScheduler {
  clock = { monotonicMs: () => 1, wallMs: () => 1 };
  run = () => {};
  timer() {
    return { set() {}, clear() {} };
  }
  turn(run) {
    this.run = run;
    return { request() {} };
  }
}

class IdlePort {
  handlers = null;
  bytes = 0;
  #writer = new ByteWriter(1024 * 1024);
  start(handlers) {
    this.handlers = handlers;
  }
  writer() {
    return this.#writer;
  }
  flush() {
    this.bytes += this.#writer.length;
    this.#writer.clear();
  }
  inFlightBytes() {
    return 0;
  }
  pause() {}
  resume() {}
  disconnect() {}
}

/** Answers every command of a block alike, when told to. */
class CannedCluster {
  open = true;
  session = 1;
  leader = 1;
  blocks = [];
  commands = 0;
  #handlers;
  #replies = new Map();
  constructor(handlers) {
    this.#handlers = handlers;
  }
  submit(token, _read, commands) {
    this.blocks.push(token, commands);
    this.commands += commands;
  }
  answer(reply) {
    for (let i = 0; i < this.blocks.length; i += 2) {
      this.#handlers.resolve(this.blocks[i], this.#canned(reply, this.blocks[i + 1]));
    }
    this.blocks.length = 0;
  }
  #canned(reply, commands) {
    const key = `${reply.name} ${commands}`;
    let span = this.#replies.get(key);
    if (span === undefined) {
      const writer = new ByteWriter(REPLY_HEADER_BYTES + commands * 16);
      const at = beginReply(writer, 1, 1, ReplyStatus.ok, BlockKind.commands);
      for (let i = 0; i < commands; i++) reply(writer);
      endReply(writer, at, commands);
      span = { bytes: writer.bytes, view: writer.view, start: 0, end: writer.length };
      this.#replies.set(key, span);
    }
    return span;
  }
}

const request = (...args) => `*${args.length}\r\n${args.map((arg) => `$${arg.length}\r\n${arg}\r\n`).join("")}`;
const keyOf = (i) => `key:${String((i * 7919) % 1e6).padStart(12, "0")}`;
const ok = (writer) => replyOk(writer);
const nil = (writer) => replyNil(writer);
const bulk = (writer) => replyBulkLatin1(writer, "xxx");
const integer = (writer) => replyInteger(writer, "1234");

/** The median over the repetitions, in ns per command. */
function measure(pipeline, reply, write) {
  const scheduler = new ManualScheduler();
  const port = new IdlePort();
  const streams = [];
  const gateway = createRespGateway({
    port,
    client: (handlers) => streams[streams.push(new CannedCluster(handlers)) - 1],
    mapping: groups === 1 ? null : kvMapping(groups),
    scheduler,
    info: () => ({}),
    events: { info() {}, warn() {}, error() {} },
  });
  gateway.start();
  const chunks = [];
  for (let i = 0; i < connections; i++) {
    port.handlers.onOpen(i + 1, "bench");
    let text = "";
    for (let n = 0; n < pipeline; n++) text += write(i * pipeline + n);
    chunks.push(new Uint8Array(Buffer.from(text, "latin1")));
  }
  const figures = [];
  for (let repetition = -warmUps; repetition < repetitions; repetition++) {
    const before = gateway.status().requests;
    const begin = process.hrtime.bigint();
    for (let turn = 0; turn < turns; turn++) {
      for (let i = 0; i < connections; i++) port.handlers.onBytes(i + 1, chunks[i], 0, chunks[i].length);
      scheduler.run();
      for (const stream of streams) stream.answer(reply);
      scheduler.run();
    }
    const ns = Number(process.hrtime.bigint() - begin);
    if (repetition >= 0) figures.push(ns / (gateway.status().requests - before));
  }
  return figures.sort((a, b) => a - b)[figures.length >> 1];
}

const workloads = [
  ["set", ok, (i) => request("SET", keyOf(i), "xxx")],
  ["get", bulk, (i) => request("GET", keyOf(i))],
  ["get of nothing", nil, (i) => request("GET", keyOf(i))],
  ["incr", integer, (i) => request("INCR", keyOf(i))],
  ["set and get", bulk, (i) => (i % 2 === 0 ? request("SET", keyOf(i), "xxx") : request("GET", keyOf(i)))],
  [
    "mset of 10",
    ok,
    (i) => request("MSET", ...Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? keyOf(i + n) : "xxx"))),
  ],
  ["ping", nil, () => request("PING")],
];

for (const pipeline of [64, 1]) {
  for (const [name, reply, write] of workloads) {
    const ns = measure(pipeline, reply, write);
    if (json)
      console.log(JSON.stringify({ bench: "resp", groups, workload: name, pipeline, ns_per_command: Math.round(ns) }));
    else console.log(`-P ${String(pipeline).padEnd(3)} ${name.padEnd(16)} ${ns.toFixed(0).padStart(6)} ns per command`);
  }
}
