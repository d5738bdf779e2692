// The btree service alone, without ordering or network: ns of CPU per command, bytes per key, slices of a checkpoint.
// Run after the build: `node --expose-gc bench/btree.mjs [--json] [keys...]`, with 10000000 for the memory budget.
// Keys lie evenly over all 64 bits, as those of `synod bench` do, so that high words tell them apart; with `--near` they are the
// numbers from 0 on, so that low words do. They are inserted in random order. `one by one` hands the service runs of one command, so that no leaves are looked for
// together; the other rows have runs of 512, interleaved with it in the same process.

import { ByteWriter } from "../dist/base/index.js";
import { emptyRun } from "../dist/model/index.js";
import { BtreeOperation, btree } from "../dist/service/index.js";

const commandsPerRun = 512;
const runs = 200;
const repetitions = 9;
const warmUps = 3;
const json = process.argv.includes("--json");
const near = process.argv.includes("--near");
/** Distance of neighbouring keys in their upper word. */
let spacing = 1;
const sizes = process.argv
  .slice(2)
  .filter((argument) => /^\d+$/.test(argument))
  .map(Number);

/** A repeatable sequence of numbers in [0, 1). */
function makeUnit(seed = 12345) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
}

/** The same of whole numbers below `bound`. */
function makePicker(bound) {
  const unit = makeUnit();
  return () => Math.floor(unit() * bound);
}

/** The numbers below `count` in random order. */
function shuffled(count) {
  const numbers = Uint32Array.from({ length: count }, (_, i) => i);
  const unit = makeUnit(99);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(unit() * (i + 1));
    const number = numbers[i];
    numbers[i] = numbers[j];
    numbers[j] = number;
  }
  return numbers;
}

function writeCommand(writer, operation, key, last, pairs) {
  const bytes = operation === BtreeOperation.range ? 28 : last === undefined ? 16 : 24;
  const at = writer.skip(bytes);
  const { view } = writer;
  view.setUint32(at, bytes, true);
  view.setUint32(at + 4, operation, true);
  view.setUint32(at + 8, near ? key : 0, true);
  view.setUint32(at + 12, near ? 0 : key * spacing, true);
  if (last === undefined) return;
  view.setUint32(at + 16, last, true);
  view.setUint32(at + 20, operation === BtreeOperation.range ? last : 0, true);
  if (operation === BtreeOperation.range) view.setUint32(at + 24, pairs, true);
}

/** Runs of commands that `write(writer, i)` encodes. */
function encode(write, perRun = commandsPerRun, count = runs) {
  let sequence = 0;
  return Array.from({ length: count }, () => {
    const writer = new ByteWriter(32 * perRun);
    const run = emptyRun();
    run.offsets = new Uint32Array(perRun);
    for (let i = 0; i < perRun; i++) {
      run.offsets[i] = writer.length;
      write(writer, sequence++);
    }
    run.bytes = writer.bytes;
    run.view = writer.view;
    run.count = perRun;
    return run;
  });
}

function cpuNs() {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

const median = (figures) => figures.sort((a, b) => a - b)[figures.length >> 1];

/** Fastest and median CPU time of each work in ns per command, the works interleaved. */
function measure(works) {
  const figures = works.map(() => []);
  for (let i = -warmUps; i < repetitions; i++) {
    works.forEach((work, w) => {
      const begin = cpuNs();
      const commands = work();
      if (i >= 0) figures[w].push((cpuNs() - begin) / commands);
    });
  }
  return figures.map((list) => ({ fastest: Math.min(...list), median: median(list) }));
}

function report(keys, name, { fastest, median: middle }) {
  if (json) console.log(JSON.stringify({ keys, name, fastest_ns: fastest, median_ns: middle }));
  else {
    const columns = [fastest, middle].map((ns) => `${ns.toFixed(0).padStart(8)} ns`).join("  median ");
    console.log(`${String(keys).padStart(9)} keys  ${name.padEnd(34)} fastest ${columns}`);
  }
}

function fact(keys, name, value, unit) {
  if (json) console.log(JSON.stringify({ keys, name, value, unit }));
  else console.log(`${String(keys).padStart(9)} keys  ${name.padEnd(34)} ${value.toFixed(1).padStart(14)} ${unit}`);
}

for (const keys of sizes.length > 0 ? sizes : [20_000, 1_000_000]) {
  spacing = Math.floor(4_294_967_296 / keys);
  const order = shuffled(keys);
  globalThis.gc?.();
  const before = process.memoryUsage.rss();
  const service = btree.create();
  const replies = new ByteWriter(4 * 1024 * 1024);
  const execute = (list) => {
    for (const run of list) {
      replies.clear();
      service.execute(run, replies, null);
    }
    return list.length * list[0].count;
  };
  // Loaded by parts, since the commands of ten million inserts are larger than the tree.
  let loadNs = 0;
  for (let first = 0; first < keys; first += 100_000) {
    const part = Math.min(100_000, keys - first);
    const writer = encode((to, i) => writeCommand(to, BtreeOperation.insert, order[first + i], i), part, 1);
    const begin = cpuNs();
    execute(writer);
    loadNs += cpuNs() - begin;
  }
  globalThis.gc?.();
  report(keys, "load, random order", { fastest: loadNs / keys, median: loadNs / keys });
  if (service.size().entries !== keys) throw new Error(`the tree has ${service.size().entries} of ${keys} keys`);
  fact(keys, "nodes, bytes per key", service.size().bytes / keys, "B");
  fact(keys, "resident since start, per key", (process.memoryUsage.rss() - before) / keys, "B");

  const pick = makePicker(keys);
  const reads = encode((to) => writeCommand(to, BtreeOperation.read, pick()));
  const updates = encode((to, i) => writeCommand(to, BtreeOperation.update, pick(), i));
  const mixed = encode((to, i) => {
    if ((i * 2_654_435_761) & 0x10000) writeCommand(to, BtreeOperation.read, pick());
    else writeCommand(to, BtreeOperation.update, pick(), i);
  });
  // Each run removes keys and the next one puts them back, so that the size stays what it is.
  const pairs = encode((to, i) => {
    const key = order[((i % commandsPerRun) + Math.floor(i / (2 * commandsPerRun)) * commandsPerRun) % keys];
    const back = Math.floor(i / commandsPerRun) % 2 === 1;
    writeCommand(to, back ? BtreeOperation.insert : BtreeOperation.delete, key, back ? i : undefined);
  });
  const single = encode((to) => writeCommand(to, BtreeOperation.read, pick()), 1, runs * commandsPerRun);
  const ranges = encode((to) => writeCommand(to, BtreeOperation.range, pick(), 0xffffffff, 100), 16, runs);
  // As a thread of opt-PSMR does: with the safety check, and what fails executed on its own.
  const one = { ...emptyRun(), offsets: new Uint32Array(1), count: 1 };
  const attempt = (list) => {
    for (const run of list) {
      replies.clear();
      for (let first = service.attempt(run, 0, 0, replies); first < run.count;) {
        one.bytes = run.bytes;
        one.view = run.view;
        one.offsets[0] = run.offsets[first];
        service.execute(one, replies, null);
        first = service.attempt(run, first + 1, 0, replies);
      }
    }
    return list.length * list[0].count;
  };
  const names = ["reads", "updates", "mixed", "delete + insert", "reads, one by one", "range of 100 pairs"];
  const works = [reads, updates, mixed, pairs, single, ranges].map((list) => () => execute(list));
  names.push("delete + insert, attempted");
  works.push(() => attempt(pairs));
  measure(works).forEach((figure, i) => report(keys, names[i], figure));

  const slices = [];
  const source = service.snapshot();
  const bytesBefore = service.size().bytes;
  let bytesMax = bytesBefore;
  let next = 0;
  const slice = new ByteWriter(1024 * 1024);
  for (let more = true; more;) {
    slice.clear();
    const begin = cpuNs();
    more = source.next(slice, 128 * 1024);
    slices.push(cpuNs() - begin);
    replies.clear();
    service.execute(updates[next++ % runs], replies, null);
    bytesMax = Math.max(bytesMax, service.size().bytes);
  }
  report(keys, "snapshot slice of 128 KiB", { fastest: Math.min(...slices), median: median(slices) });
  // The first slices run before the engine has compiled them.
  fact(keys, "snapshot slices above 2 ms", slices.filter((ns) => ns > 2e6).length, `of ${slices.length}`);
  fact(keys, "memory during a snapshot", 100 * (bytesMax / bytesBefore - 1), "% more");
}
