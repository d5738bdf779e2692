// P-SMR's threads alone, without ordering or network: one replica's threads execute recorded streams at full speed; at barriers
// they spin, and after a while sleep. Prints commands per second of wall time for 1 and 2 threads. Run after the build:
// `node bench/psmr.mjs [--service btree|kv] [--keys N] [--commands N] [--dependent PERCENT] [--barrier run|command]
// [--batch COMMANDS] [--json]`. With btree the independent commands are reads and updates and the dependent ones inserts and deletes;
// with kv GET and SET of keys of which a tenth come and go, and MSET of two keys.
// Ratios of one run count; figures of runs on a shared machine don't.

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { ByteWriter } from "../dist/base/index.js";
import { Barrier, createPsmrParts, createPsmrThread, Waiting } from "../dist/execution/index.js";
import {
  BatchArena,
  beginBlock,
  BlockKind,
  declaredMapping,
  emptyRun,
  endBlock,
  positionOf,
} from "../dist/model/index.js";
import {
  beginCommand,
  Btree,
  BtreeOperation,
  createSharedKv,
  endCommand,
  KvOperation,
  kvMapping,
  partitionOf,
  sharedKv,
  writeArgumentLatin1,
} from "../dist/service/index.js";

const repetitions = 5;
const session = positionOf(1, 0);

/** A repeatable sequence of whole numbers below a bound. */
function makePicker(seed) {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 4294967296) * bound);
  };
}

const boundsOf = (keys, threads) =>
  Array.from({ length: threads - 1 }, (_, i) => [Math.floor(((i + 1) * keys) / threads), 0]);

function writeCommand(writer, operation, key, value) {
  const bytes = value === undefined ? 16 : 24;
  const at = writer.skip(bytes);
  writer.view.setUint32(at, bytes, true);
  writer.view.setUint32(at + 4, operation, true);
  writer.view.setUint32(at + 8, key, true);
  writer.view.setUint32(at + 12, 0, true);
  if (value === undefined) return;
  writer.view.setUint32(at + 16, value, true);
  writer.view.setUint32(at + 20, 0, true);
}

function writeKv(writer, operation, ...args) {
  const at = beginCommand(writer, operation, 0, args.length);
  for (const argument of args) writeArgumentLatin1(writer, argument);
  endCommand(writer, at);
}

/** The keys of kv, 16 bytes each, by the thread that they belong to. */
function kvKeys({ keys, threads }) {
  const lists = Array.from({ length: threads }, () => []);
  for (let i = 0; i < keys; i++) {
    const key = `key:${String(i).padStart(12, "0")}`;
    lists[partitionOf(Buffer.from(key), 0, key.length, threads)].push(key);
  }
  return lists;
}

/** What a service is made of, and its commands: `own` of a thread, `dependent` of all. */
const services = {
  btree: (config) => ({
    create: () => new Btree({ bounds: boundsOf(config.keys, config.threads) }),
    share: (service) => service.share(config.threads),
    attach: (description, number) =>
      Btree.attach(description, number, { bounds: boundsOf(config.keys, config.threads) }),
    mapping: (service) => declaredMapping(service, config.threads),
    fill: (writer, i, pick) => writeCommand(writer, BtreeOperation.insert, i, pick(1e9)),
    own(writer, pick, thread) {
      const share = Math.floor(config.keys / config.threads);
      const key = thread * share + pick(share);
      if (pick(2) === 0) writeCommand(writer, BtreeOperation.read, key);
      else writeCommand(writer, BtreeOperation.update, key, pick(1e9));
    },
    dependent(writer, pick) {
      const key = pick(config.keys);
      if (pick(2) === 0) writeCommand(writer, BtreeOperation.delete, key);
      else writeCommand(writer, BtreeOperation.insert, key, key);
    },
  }),
  kv(config) {
    const lists = kvKeys(config);
    const everybody = 2 ** config.threads - 1;
    const pickKey = (pick, thread) => lists[thread][pick(lists[thread].length)];
    return {
      create() {
        const service = createSharedKv(config.threads);
        service.adopt(everybody);
        return service;
      },
      share: (service) => service.share(),
      attach: (description, number) => sharedKv.attach(description, number, config.threads),
      mapping: () => kvMapping(config.threads),
      fill: (writer, i) => writeKv(writer, KvOperation.set, `key:${String(i).padStart(12, "0")}`, "12345678"),
      own(writer, pick, thread) {
        const key = pickKey(pick, thread);
        const dice = pick(20);
        if (dice < 10) writeKv(writer, KvOperation.get, key);
        else
          writeKv(
            writer,
            dice === 10 ? KvOperation.delete : KvOperation.set,
            ...(dice === 10 ? [key] : [key, "87654321"]),
          );
      },
      dependent(writer, pick) {
        const [a, b] = [0, 1].map(() => pickKey(pick, pick(config.threads)));
        writeKv(writer, KvOperation.setMany, a, "1", b, "2");
      },
    };
  },
};

/** Writes the blocks of batches, one block each. */
class Recorder {
  arena = new BatchArena(16 * 1024 * 1024);
  writer = new ByteWriter(1 << 16);
  sequences = new Map();

  batch(kind, stream, count, write) {
    const { writer } = this;
    writer.clear();
    const first = this.sequences.get(stream) ?? 1;
    const at = beginBlock(writer, kind, kind === BlockKind.commands ? session : 0, first, first - 1, stream);
    for (let i = 0; i < count; i++) write(i);
    if (kind === BlockKind.openSession) writer.skip(16);
    endBlock(writer, at, kind === BlockKind.openSession ? 0 : count);
    if (kind === BlockKind.commands) this.sequences.set(stream, first + count);
    return this.arena.build(writer.bytes, 0, writer.length, 1, count, 1);
  }
}

/** The merged stream of one thread: what its merge would deliver, in order. */
function record({ commands, dependent, batch, threads }, thread, service) {
  const recorder = new Recorder();
  const all = makePicker(77);
  const own = makePicker(1000 + thread);
  const dependentBatches = Math.round((commands * dependent) / 100 / batch);
  const ownBatches = Math.round((commands * (100 - dependent)) / 100 / batch / threads);
  const merged = [{ stream: 0, batch: recorder.batch(BlockKind.openSession, 0, 1, () => {}) }];
  let at = 0;
  for (let i = 0; i < Math.max(dependentBatches, 1); i++) {
    const until = Math.round(((i + 1) * ownBatches) / Math.max(dependentBatches, 1));
    for (; at < until; at++) {
      const made = recorder.batch(BlockKind.commands, thread + 1, batch, () => {
        service.own(recorder.writer, own, thread);
      });
      merged.push({ stream: thread + 1, batch: made });
    }
    if (i >= dependentBatches) continue;
    const made = recorder.batch(BlockKind.commands, 0, batch, () => {
      service.dependent(recorder.writer, all);
    });
    merged.push({ stream: 0, batch: made });
  }
  return merged;
}

class Sink {
  writer = new ByteWriter(1 << 20, 1 << 26);
  constructor(parts, thread) {
    this.barrier = new Barrier(parts.memory, parts.threads);
    this.thread = thread;
  }
  executed() {}
  replies() {
    return this.writer;
  }
  replied() {
    this.writer.clear();
  }
  wantWork() {}
  arrived() {
    Atomics.notify(this.barrier.words, this.barrier.arrivalWord(this.thread));
  }
  released() {
    Atomics.notify(this.barrier.words, this.barrier.releaseWord(this.thread));
  }
  cutTaken() {}
  digestTaken() {}
  trace() {}
}

/** Looks at the word for about 20 µs before it sleeps. */
function wait({ words, index, value }) {
  for (let i = 0; i < 2000; i++) if (Atomics.load(words, index) !== value) return;
  Atomics.wait(words, index, value);
}

/** Delivers and executes the whole stream. */
function run(model, merged, parts) {
  const sink = new Sink(parts, model.thread);
  const point = { words: null, index: 0, value: 0 };
  const instances = [0, 0];
  const work = { kind: "work", budget: 1e9 };
  let next = 0;
  for (;;) {
    while (next < merged.length && !model.full) {
      const { stream, batch } = merged[next++];
      const instance = ++instances[stream === 0 ? 0 : 1];
      model.step({ kind: "decided", stream, instance, batch }, sink);
    }
    model.step(work, sink);
    if (model.waitsAt(point)) wait(point);
    const view = model.inspect();
    if (next === merged.length && view.queuedBatches === 0) return view;
  }
}

function thread(config, parts, kit, service, number) {
  const model = createPsmrThread(parts, number, service, kit.mapping(service), { barrier: config.barrier });
  const merged = record(config, number, kit);
  const gate = new Int32Array(config.gate);
  Atomics.add(gate, 0, 1);
  while (Atomics.load(gate, 0) < config.threads);
  const begin = performance.now();
  const view = run(model, merged, parts);
  return { seconds: (performance.now() - begin) / 1000, commands: view.commands, waiting: view.waiting === Waiting.no };
}

function load(config, kit) {
  const service = kit.create();
  const writer = new ByteWriter(1 << 16);
  const replies = new ByteWriter(1 << 16);
  const commands = emptyRun();
  commands.offsets = new Uint32Array(512);
  const pick = makePicker(5);
  for (let first = 0; first < config.keys; first += 512) {
    writer.clear();
    replies.clear();
    commands.count = Math.min(512, config.keys - first);
    for (let i = 0; i < commands.count; i++) {
      commands.offsets[i] = writer.length;
      kit.fill(writer, first + i, pick);
    }
    commands.bytes = writer.bytes;
    commands.view = writer.view;
    commands.answered = commands.count;
    service.execute(commands, replies, null);
  }
  return service;
}

async function measure(config) {
  const kit = services[config.service](config);
  const service = load(config, kit);
  const description = kit.share(service);
  const parts = createPsmrParts(config.threads);
  const shared = { ...config, gate: new SharedArrayBuffer(4) };
  const workers = [];
  for (let number = 1; number < config.threads; number++) {
    workers.push(new Worker(new URL(import.meta.url), { workerData: { config: shared, parts, description, number } }));
  }
  const results = workers.map((worker) => new Promise((resolve) => worker.once("message", resolve)));
  const first = thread(shared, parts, kit, service, 0);
  const all = [first, ...(await Promise.all(results))];
  for (const worker of workers) await worker.terminate();
  const commands = all.reduce((sum, result) => sum + result.commands, 0);
  return commands / Math.max(...all.map((result) => result.seconds));
}

function option(name, fallback) {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : process.argv[at + 1];
}

if (isMainThread) {
  const config = {
    service: option("service", "btree"),
    keys: Number(option("keys", 1_000_000)),
    commands: Number(option("commands", 1_000_000)),
    dependent: Number(option("dependent", 0)),
    barrier: option("barrier", "run"),
    batch: Number(option("batch", 512)),
  };
  const rates = { 1: [], 2: [] };
  for (let i = 0; i < repetitions; i++) {
    for (const threads of [1, 2]) rates[threads].push(await measure({ ...config, threads }));
  }
  const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
  const ratio = median(rates[2].map((rate, i) => rate / rates[1][i]));
  const result = { ...config, one: median(rates[1]), two: median(rates[2]), ratio };
  if (process.argv.includes("--json")) console.log(JSON.stringify(result));
  else {
    console.log(`1 thread ${(result.one / 1e6).toFixed(2)} M/s, 2 threads ${(result.two / 1e6).toFixed(2)} M/s`);
    console.log(`median ratio of pairs ${ratio.toFixed(2)}`);
  }
} else {
  const { config, parts, description, number } = workerData;
  const kit = services[config.service](config);
  parentPort.postMessage(thread(config, parts, kit, kit.attach(description, number), number));
}
