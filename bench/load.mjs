// What the load generator itself costs, without network: ns of CPU per key drawn, per command written, per reply checked.
// `npm run bench -- load [--json]`. Medians of nine rounds, the rows of a round in turn.
import { ByteWriter, Prng } from "../dist/base/index.js";
import {
  ArrivalSchedule,
  btreeLoadCommands,
  createKeyChooser,
  Expected,
  InsertedKeys,
  insertedKey,
  kvLoadCommands,
  LatencyHistogram,
} from "../dist/runtime/index.js";
import { ReplyKind, replyOk } from "../dist/service/index.js";
import { figure, median, printTable } from "./rig/statistics.mjs";

const KEYS = 1_000_000;
const COUNT = 200_000;
const BLOCK = 256;
const ROUNDS = 9;

const prng = new Prng(1);
const inserted = new InsertedKeys(8);
for (let client = 0; client < 8; client++) inserted.acknowledge(client, 1000);
const histogram = new LatencyHistogram();
const arrivals = new ArrivalSchedule(prng, "poisson", 100_000, 0, 0, 1);
const writer = new ByteWriter(1 << 20);
const init = { keys: KEYS, valueSize: 8, unique: 12345 };

/** Keeps what is computed from being optimized away. */
let sink = 0;

function draw(distribution) {
  const chooser = createKeyChooser(distribution, prng, KEYS, inserted);
  return () => {
    for (let i = 0; i < COUNT; i++) sink ^= chooser.next();
  };
}

function write(commands, one) {
  return () => {
    for (let i = 0; i < COUNT; i++) {
      if (i % BLOCK === 0) writer.clear();
      one(commands, i);
    }
    sink ^= writer.length;
  };
}

function check(commands, expected, reply) {
  const replies = new ByteWriter(1 << 16);
  for (let i = 0; i < BLOCK; i++) reply(replies);
  return () => {
    for (let i = 0; i < COUNT; i += BLOCK) sink ^= commands.unexpected(replies.view, 0, BLOCK, expected);
  };
}

function bulk(replies) {
  replies.u32(16);
  replies.u32(ReplyKind.bulk);
  replies.skip(8);
}

const btree = btreeLoadCommands(init);
const kv = kvLoadCommands(init);
const rows = {
  "key, uniform": draw("uniform"),
  "key, zipfian": draw("zipfian"),
  "key, latest": draw("latest"),
  "due time, Poisson": () => {
    for (let i = 0; i < COUNT; i++) sink ^= arrivals.take();
  },
  "latency recorded alone": () => {
    for (let i = 0; i < COUNT; i++) histogram.record(i * 0.001, 1);
  },
  "btree update": write(btree, (commands, i) => commands.update(writer, i)),
  "btree read": write(btree, (commands, i) => commands.read(writer, i)),
  "btree insert": write(btree, (commands, i) => commands.insert(writer, insertedKey(3, i))),
  "btree reply to a read": check(btree, Expected.found, bulk),
  "btree reply to an update": check(btree, Expected.done, replyOk),
  "kv set": write(kv, (commands, i) => commands.update(writer, i)),
  "kv get": write(kv, (commands, i) => commands.read(writer, i)),
  "kv insert": write(kv, (commands, i) => commands.insert(writer, insertedKey(3, i))),
  "kv reply to a read": check(kv, Expected.found, bulk),
};

const times = Object.fromEntries(Object.keys(rows).map((name) => [name, []]));
for (let round = 0; round <= ROUNDS; round++) {
  for (const [name, run] of Object.entries(rows)) {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    // The first round compiles.
    if (round > 0) times[name].push(((user + system) * 1000) / COUNT);
  }
}
const results = Object.entries(times).map(([what, ns]) => ({ what, ns: median(ns) }));
if (process.argv.includes("--json")) for (const result of results) console.log(JSON.stringify(result));
else {
  printTable(
    ["what", "ns"],
    results.map(({ what, ns }) => [what, figure(ns)]),
  );
}
if (!Number.isInteger(sink)) console.log(sink);
