// The store of byte strings alone: ns per operation by number of keys, the ratio to a plain Map of strings, memory per key,
// and the slices of a snapshot. Run after the build: `node bench/byte-store.mjs [--json] [--value BYTES] [keys...]`. Keys are
// 16 bytes, values 8 unless told otherwise.

import { ByteWriter } from "../dist/base/index.js";
import { createByteStore, READ_AHEAD_MAX } from "../dist/service/byte-store/index.js";

const operations = 102_400;
const repetitions = 9;
const warmUps = 3;
const flags = process.argv.slice(2);
const json = flags.includes("--json");
const valueBytes = flags.includes("--value") ? Number(flags[flags.indexOf("--value") + 1]) : 8;
const sizes = flags.filter((flag, i) => /^\d+$/.test(flag) && flags[i - 1] !== "--value").map(Number);

const keyBytes = 16;
const prefix = new TextEncoder().encode("key:");
const value = Buffer.alloc(valueBytes, "v");

/** Writes the digits of key i at byte `at`. */
function writeKey(bytes, at, i) {
  bytes.set(prefix, at);
  for (let place = at + keyBytes - 1, rest = i; place >= at + 4; place--, rest = Math.floor(rest / 10)) {
    bytes[place] = 48 + (rest % 10);
  }
}

/** A repeatable sequence over all keys, encoded one behind the other. */
function makePicks(keys, state = 12345) {
  const picks = new Uint8Array(operations * keyBytes);
  for (let i = 0; i < operations; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    writeKey(picks, i * keyBytes, Math.floor((state / 4294967296) * keys));
  }
  return picks;
}

const median = (figures) => figures.sort((a, b) => a - b)[figures.length >> 1];
const cpuNs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

/** The fastest and the median repetition, in ns of CPU time per operation: the machine does other work. */
function measure(work) {
  const figures = [];
  for (let i = -warmUps; i < repetitions; i++) {
    const begin = cpuNs();
    const count = work();
    const ns = (cpuNs() - begin) / count;
    if (i >= 0) figures.push(ns);
  }
  return { fastest: Math.min(...figures), median: median(figures) };
}

function report(keys, name, figure, unit = "ns") {
  const { fastest, median: middle } = typeof figure === "number" ? { fastest: figure, median: figure } : figure;
  if (json) return console.log(JSON.stringify({ keys, name, unit, fastest, median: middle }));
  const columns = [fastest, middle].map((value) => `${value.toFixed(0).padStart(9)} ${unit}`).join("  median ");
  console.log(`${String(keys).padStart(9)} keys  ${name.padEnd(36)} fastest ${columns}`);
}

for (const keys of sizes.length > 0 ? sizes : [20_000, 1_000_000]) {
  const store = createByteStore();
  const all = new Uint8Array(keys * keyBytes);
  // A permutation by a multiplier prime to every size in use.
  for (let i = 0; i < keys; i++) writeKey(all, i * keyBytes, (i * 7_368_787) % keys);
  const begin = cpuNs();
  for (let at = 0; at < all.length; at += keyBytes) {
    if (store.find(all, at, at + keyBytes) === 0) store.add(all, at, at + keyBytes, value, 0, valueBytes, 0, null);
  }
  report(keys, "load: find + add", (cpuNs() - begin) / keys);
  report(keys, "memory", store.reserved / keys, "bytes/key");
  const picks = makePicks(keys);
  let found = 0;
  report(
    keys,
    "find",
    measure(() => {
      for (let at = 0; at < picks.length; at += keyBytes) {
        if (store.find(picks, at, at + keyBytes) !== 0) found++;
      }
      return operations;
    }),
  );
  const update = () => {
    for (let at = 0; at < picks.length; at += keyBytes) {
      value[0] = at;
      store.replace(store.find(picks, at, at + keyBytes), value, 0, valueBytes, 0, null);
    }
    return operations;
  };
  report(keys, "find + replace", measure(update));
  const spans = new Uint32Array(2 * READ_AHEAD_MAX);
  report(
    keys,
    "read ahead + find + replace",
    measure(() => {
      for (let group = 0; group < operations; group += READ_AHEAD_MAX) {
        for (let i = 0; i < READ_AHEAD_MAX; i++) {
          spans[2 * i] = (group + i) * keyBytes;
          spans[2 * i + 1] = (group + i + 1) * keyBytes;
        }
        store.readAhead(picks, spans, READ_AHEAD_MAX);
        for (let i = 0; i < READ_AHEAD_MAX; i++) {
          const at = (group + i) * keyBytes;
          value[0] = at;
          store.replace(store.find(picks, at, at + keyBytes), value, 0, valueBytes, 0, null);
        }
      }
      return operations;
    }),
  );
  report(
    keys,
    "remove + add",
    measure(() => {
      for (let at = 0; at < picks.length; at += keyBytes) {
        store.remove(store.find(picks, at, at + keyBytes), null);
        store.add(picks, at, at + keyBytes, value, 0, valueBytes, 0, null);
      }
      return operations;
    }),
  );
  report(
    keys,
    "first of a range + 10 × next",
    measure(() => {
      for (let at = 0; at < picks.length; at += 10 * keyBytes) {
        let entry = store.first(picks, at, at + keyBytes, false);
        for (let n = 0; n < 10 && entry !== 0; n++) entry = store.next(entry);
      }
      return operations / 10;
    }),
  );
  report(
    keys,
    "find + set expiry, mostly later",
    measure(() => {
      for (let at = 0; at < picks.length; at += keyBytes) {
        store.setExpiry(store.find(picks, at, at + keyBytes), 1_700_000_000_000 + at, null);
      }
      return operations;
    }),
  );
  for (let at = 0; at < picks.length; at += keyBytes) {
    store.setExpiry(store.find(picks, at, at + keyBytes), 0, null);
  }

  const slices = [];
  const slice = new ByteWriter(1024 * 1024);
  // The first walks warm up; CPU time, since the machine does other work.
  for (let round = 0; round < 3; round++) {
    const source = store.snapshot();
    slices.length = 0;
    for (let more = true; more;) {
      slice.clear();
      const started = cpuNs();
      more = source.next(slice, 128 * 1024);
      slices.push(cpuNs() - started);
    }
  }
  report(keys, "snapshot, per key", slices.reduce((sum, ns) => sum + ns, 0) / keys);
  report(keys, "snapshot, 128 KiB slice", { fastest: Math.min(...slices), median: median(slices) });
  report(keys, "snapshot, longest slice", Math.max(...slices));
  report(
    keys,
    "find + replace under a snapshot",
    measure(() => {
      const mark = store.snapshot();
      const count = update();
      mark.close();
      return count;
    }),
  );
  if (found !== (warmUps + repetitions) * operations) throw new Error(`the store lost keys: ${found}`);

  const map = new Map();
  const allText = Buffer.from(all.buffer);
  for (let at = 0; at < all.length; at += keyBytes) {
    map.set(allText.latin1Slice(at, at + keyBytes), value.latin1Slice(0, valueBytes));
  }
  const text = Buffer.from(picks.buffer);
  report(
    keys,
    "for comparison: Map of strings, set",
    measure(() => {
      for (let at = 0; at < picks.length; at += keyBytes) {
        map.set(text.latin1Slice(at, at + keyBytes), value.latin1Slice(0, valueBytes));
      }
      return operations;
    }),
  );
}
