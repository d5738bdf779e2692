// The kv service alone, without ordering or network: ns per command at two sizes of the store. Run after the build:
// `node bench/kv.mjs [--json] [keys...]`. Keys are 16 bytes, values 8.

import { ByteWriter } from "../dist/base/index.js";
import { emptyRun } from "../dist/model/index.js";
import { beginCommand, endCommand, kv, KvOperation, writeArgumentLatin1 } from "../dist/service/index.js";

const commandsPerRun = 512;
const runs = 100;
const repetitions = 15;
const warmUps = 5;
const json = process.argv.includes("--json");
const sizes = process.argv
  .slice(2)
  .filter((argument) => /^\d+$/.test(argument))
  .map(Number);

const keyOf = (i) => `key:${String(i).padStart(12, "0")}`;

/** A repeatable sequence; spread over all keys by a multiplicative hash. */
function makePicker(keys) {
  let state = 12345;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 4294967296) * keys);
  };
}

/** Runs of commands that `write(writer, key)` encodes. */
function encode(keys, write) {
  const pick = makePicker(keys);
  return Array.from({ length: runs }, () => {
    const writer = new ByteWriter(64 * 1024);
    const run = emptyRun();
    run.offsets = new Uint32Array(commandsPerRun);
    for (let i = 0; i < commandsPerRun; i++) {
      run.offsets[i] = writer.length;
      write(writer, pick(), i);
    }
    run.bytes = writer.toBytes();
    run.view = new DataView(run.bytes.buffer);
    run.count = commandsPerRun;
    return run;
  });
}

function command(writer, operation, ...texts) {
  const at = beginCommand(writer, operation, 0, texts.length);
  for (const text of texts) writeArgumentLatin1(writer, text);
  endCommand(writer, at);
}

/** The fastest and the median repetition, in ns per command: on a machine with other work the fastest says more. */
function measure(work) {
  const figures = [];
  for (let i = -warmUps; i < repetitions; i++) {
    const begin = process.hrtime.bigint();
    const commands = work();
    const ns = Number(process.hrtime.bigint() - begin) / commands;
    if (i >= 0) figures.push(ns);
  }
  return { fastest: Math.min(...figures), median: median(figures) };
}

const median = (figures) => figures.sort((a, b) => a - b)[figures.length >> 1];

const rows = [];
function report(keys, name, figure) {
  const { fastest, median: middle } = typeof figure === "number" ? { fastest: figure, median: figure } : figure;
  rows.push({ keys, name, fastest_ns: Math.round(fastest), median_ns: Math.round(middle) });
  if (json) return;
  const columns = [fastest, middle].map((ns) => `${ns.toFixed(0).padStart(9)} ns`).join("  median ");
  console.log(`${String(keys).padStart(9)} keys  ${name.padEnd(30)} fastest ${columns}`);
}

for (const keys of sizes.length > 0 ? sizes : [20_000, 1_000_000]) {
  const service = kv.create();
  const replies = new ByteWriter(1024 * 1024);
  const execute = (list) => {
    for (const run of list) {
      replies.clear();
      service.execute(run, replies, null);
    }
    return list.length * commandsPerRun;
  };
  const load = emptyRun();
  const writer = new ByteWriter(64);
  // A permutation by a multiplier prime to every size in use: loading in order would leave an unusually dense tree.
  const begin = process.hrtime.bigint();
  for (let i = 0; i < keys; i++) {
    const key = (i * 7_368_787) % keys;
    writer.clear();
    command(writer, KvOperation.set, keyOf(key), String(key).padStart(8, "0"));
    load.bytes = writer.bytes;
    load.view = writer.view;
    load.count = 1;
    replies.clear();
    service.execute(load, replies, null);
  }
  report(keys, "load, one by one", Number(process.hrtime.bigint() - begin) / keys);

  const gets = encode(keys, (to, key) => command(to, KvOperation.get, keyOf(key)));
  const sets = encode(keys, (to, key, i) =>
    command(to, KvOperation.set, keyOf(key), String(i * 7919).padStart(8, "0")),
  );
  const increments = encode(keys, (to, key) => command(to, KvOperation.increment, keyOf(key), "1"));
  const ones = encode(keys, (to, key) => command(to, KvOperation.set, keyOf(key), "1"));
  report(
    keys,
    "get",
    measure(() => execute(gets)),
  );
  report(
    keys,
    "set",
    measure(() => execute(sets)),
  );
  // The same keys in the same order: every increment finds an integer.
  execute(ones);
  report(
    keys,
    "increment",
    measure(() => execute(increments)),
  );
  report(
    keys,
    "set, with a mark every 51,200",
    measure(() => {
      service.snapshot().close();
      return execute(sets);
    }),
  );
  const source = service.snapshot();
  const slice = new ByteWriter(1024 * 1024);
  const slices = [];
  for (let more = true; more;) {
    slice.clear();
    const started = process.hrtime.bigint();
    more = source.next(slice, 128 * 1024);
    slices.push(Number(process.hrtime.bigint() - started));
  }
  report(keys, "snapshot, per key", slices.reduce((sum, ns) => sum + ns, 0) / keys);
  report(keys, "snapshot, 128 KiB slice", median(slices));
  report(keys, "snapshot, longest slice", Math.max(...slices));
}
if (json) for (const row of rows) console.log(JSON.stringify(row));
