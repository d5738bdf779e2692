// Execution alone: decided batches of set commands through each model and the kv service, with sessions, exactly-once
// bookkeeping, remembered replies and reply blocks. ns per command by commands per block. Run after the build:
// `node bench/execution.mjs [--json]`. Then the slices of a snapshot with 10,000 sessions.

import { ByteWriter } from "../dist/base/index.js";
import { BatchArena, beginBlock, BlockKind, endBlock, positionOf } from "../dist/model/index.js";
import { createPipelined, createSequential } from "../dist/execution/index.js";
import { beginCommand, endCommand, kv, KvOperation, writeArgumentLatin1 } from "../dist/service/index.js";

const keys = 20_000;
const commandsPerBatch = 1024;
const batchesPerRepetition = 50;
const repetitions = 15;
const warmUps = 5;
const json = process.argv.includes("--json");

const report = (name, value, unit) => {
  if (json) console.log(JSON.stringify({ name, value: Math.round(value), unit }));
  else console.log(`${name.padEnd(52)} ${value.toFixed(0).padStart(8)} ${unit}`);
};
const median = (figures) => figures.sort((a, b) => a - b)[figures.length >> 1];

/** A host that takes every effect and keeps nothing. */
function makeHost(model) {
  const writer = new ByteWriter(1024 * 1024);
  const host = {
    sessions: [],
    instance: 0,
    executed() {},
    replies() {
      if (writer.length > 256 * 1024) writer.clear();
      return writer;
    },
    replied(session, position) {
      if (session === position) host.sessions.push(session);
    },
    readDone() {},
    wantWork() {},
    digestTaken() {},
    trace() {},
    decide(batch) {
      model.step({ kind: "decided", stream: 0, instance: ++host.instance, batch }, host);
      model.step({ kind: "work", budget: 1e6 }, host);
    },
  };
  return host;
}

const arena = new BatchArena();

function openSessions(host, count) {
  const writer = new ByteWriter();
  while (host.sessions.length < count) {
    writer.clear();
    const blocks = Math.min(4000, count - host.sessions.length);
    for (let i = 0; i < blocks; i++) {
      const at = beginBlock(writer, BlockKind.openSession, 0, 0, 0);
      writer.skip(16);
      endBlock(writer, at, 0);
    }
    host.decide(arena.build(writer.bytes, 0, writer.length, blocks, 0, 1));
  }
}

let state = 1;
const pick = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 4294967296) * keys);
};

/** A batch in which `next` gives session and sequence number of each block; earlier replies are acknowledged. */
function makeBatch(writer, perBlock, next) {
  writer.clear();
  const blocks = commandsPerBatch / perBlock;
  for (let i = 0; i < blocks; i++) {
    const { session, sequence } = next();
    const block = beginBlock(writer, BlockKind.commands, session, sequence, Math.max(0, sequence - 1));
    for (let k = 0; k < perBlock; k++) {
      const at = beginCommand(writer, KvOperation.set, 0, 2);
      writeArgumentLatin1(writer, `key:${String(pick()).padStart(12, "0")}`);
      writeArgumentLatin1(writer, "12345678");
      endCommand(writer, at);
    }
    endBlock(writer, block, perBlock);
  }
  return arena.build(writer.bytes, 0, writer.length, blocks, commandsPerBatch, 2);
}

for (const [name, create] of Object.entries({ sequential: createSequential, pipelined: createPipelined })) {
  for (const perBlock of [1, 16, 256]) {
    const host = makeHost(create(kv.create()));
    const clients = 64;
    openSessions(host, clients);
    const due = host.sessions.map(() => 1);
    let turn = 0;
    const next = () => {
      const client = turn++ % clients;
      const sequence = due[client];
      due[client] += perBlock;
      return { session: host.sessions[client], sequence };
    };
    const writer = new ByteWriter();
    const figures = [];
    for (let i = -warmUps; i < repetitions; i++) {
      const batches = Array.from({ length: batchesPerRepetition }, () => makeBatch(writer, perBlock, next));
      const begin = process.hrtime.bigint();
      for (const batch of batches) host.decide(batch);
      const ns = Number(process.hrtime.bigint() - begin) / (batchesPerRepetition * commandsPerBatch);
      for (const batch of batches) arena.release(batch);
      if (i >= 0) figures.push(ns);
    }
    report(`${name}, set, ${perBlock} a block, fastest`, Math.min(...figures), "ns/command");
    report(`${name}, set, ${perBlock} a block, median`, median(figures), "ns/command");
  }
}

const sessions = 10_000;
const model = createPipelined(kv.create());
const host = makeHost(model);
openSessions(host, sessions);
const writer = new ByteWriter();
let sequence = 0;
let client = 0;
// Ten remembered replies of 64 commands a session: none is acknowledged.
for (let i = 0; i < (sessions * 10) / 16; i++) {
  const batch = makeBatch(writer, 64, () => {
    if (client % sessions === 0) sequence++;
    return { session: host.sessions[client++ % sessions], sequence: 1 + (sequence - 1) * 64 };
  });
  // The acknowledgement would free what is to be measured.
  let at = batch.start + 24;
  for (let k = 0; k < batch.blocks; k++) {
    batch.view.setFloat64(at + 24, 0, true);
    at += batch.view.getUint32(at, true);
  }
  host.decide(batch);
  arena.release(batch);
}
if (positionOf(1, 0) !== host.sessions[0]) throw new Error("sessions are not where they should be");
const begin = process.hrtime.bigint();
const source = model.snapshot();
report(`snapshot, mark with ${sessions} sessions`, Number(process.hrtime.bigint() - begin) / 1000, "µs");
const slice = new ByteWriter(1024 * 1024);
const slices = [];
let bytes = 0;
for (let more = true; more;) {
  slice.clear();
  const started = process.hrtime.bigint();
  more = source.next(slice, 128 * 1024);
  slices.push(Number(process.hrtime.bigint() - started) / 1000);
  bytes += slice.length;
}
report("snapshot, bytes", bytes, "B");
report("snapshot, longest 128 KiB slice", Math.max(...slices), "µs");
report("snapshot, median slice", median(slices), "µs");
