// The order of byte-string keys alone, and whether it costs the tree of words anything: ns of CPU per operation, bytes per key,
// comparisons of whole keys per search. Run after the build: `node bench/handle-order.mjs [--json] [keys...]`.
// Keys are `user:` and 12 digits, inserted in random order. The tree of words is measured before any other tree was used in
// the process and after.

import { HandleTree, WordTree } from "../dist/service/index.js";

const searches = 1 << 16;
const repetitions = 15;
const warmUps = 5;
const keyBytes = 17;
const json = process.argv.includes("--json");
const sizes = process.argv
  .slice(2)
  .filter((argument) => /^\d+$/.test(argument))
  .map(Number);

/** Keys of a fixed length in one array; handle i is the key at i times the length. */
class FixedKeys {
  comparisons = 0;
  searched = 0;
  #bytes;

  constructor(count) {
    this.#bytes = Buffer.alloc((count + 1) * keyBytes + 8);
    for (let i = 1; i <= count; i++) {
      this.#bytes.write(`user:${String(i * 7).padStart(12, "0")}`, i * keyBytes, "latin1");
    }
  }

  compare(handle, from) {
    this.comparisons++;
    return this.#order(handle, from, keyBytes);
  }

  comparePrefix(handle, length) {
    this.comparisons++;
    return this.#order(handle, 0, length);
  }

  searchedWord(from) {
    return this.word(this.searched, from);
  }

  word(handle, from) {
    const left = keyBytes - from;
    if (left <= 0) return 0;
    const bytes = this.#bytes;
    const at = handle * keyBytes + from;
    const word = ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
    return left >= 4 ? word : (word & (0xffffffff << (8 * (4 - left)))) >>> 0;
  }

  commonPrefix(a, b) {
    const bytes = this.#bytes;
    let i = 0;
    while (i < keyBytes && bytes[a * keyBytes + i] === bytes[b * keyBytes + i]) i++;
    return i;
  }

  #order(handle, from, to) {
    const bytes = this.#bytes;
    for (let i = from; i < to; i++) {
      const difference = bytes[this.searched * keyBytes + i] - bytes[handle * keyBytes + i];
      if (difference !== 0) return difference;
    }
    return 0;
  }
}

function makePicker(bound) {
  let state = 12345;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 4294967296) * bound);
  };
}

function shuffled(count) {
  const numbers = Uint32Array.from({ length: count }, (_, i) => i + 1);
  const pick = makePicker(2 ** 31);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor((pick() / 2 ** 31) * (i + 1));
    [numbers[i], numbers[j]] = [numbers[j], numbers[i]];
  }
  return numbers;
}

function cpuNs() {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

function measure(work) {
  const figures = [];
  for (let i = -warmUps; i < repetitions; i++) {
    const begin = cpuNs();
    const operations = work();
    if (i >= 0) figures.push((cpuNs() - begin) / operations);
  }
  return Math.min(...figures);
}

function report(keys, name, value, unit = "ns") {
  if (json) console.log(JSON.stringify({ keys, name, value, unit }));
  else console.log(`${String(keys).padStart(9)} keys  ${name.padEnd(44)} ${value.toFixed(1).padStart(9)} ${unit}`);
}

for (const keys of sizes.length > 0 ? sizes : [20_000, 1_000_000]) {
  const order = shuffled(keys);
  const words = new WordTree();
  for (const key of order) {
    const leaf = words.leafOf(key, 0);
    words.insert(leaf, words.cellOf(leaf, key, 0), key, 0, key, 0, null);
  }
  const probes = Uint32Array.from({ length: searches }, makePicker(keys)).map((n) => n + 1);
  let found = 0;
  const searchWords = () => {
    for (const key of probes) {
      const leaf = words.leafOf(key, 0);
      if (words.read(leaf, words.cellOf(leaf, key, 0), key, 0)) found++;
    }
    return searches;
  };
  report(keys, "tree of words: read, other trees not used yet", measure(searchWords));

  const tails = new FixedKeys(keys);
  const tree = new HandleTree(tails);
  const begin = cpuNs();
  for (const handle of order) {
    tails.searched = handle;
    tree.insert(handle);
  }
  report(keys, "order: insert, random", (cpuNs() - begin) / keys);
  report(keys, "order: bytes per key", tree.bytes / keys, "B");
  const search = () => {
    for (const handle of probes) {
      tails.searched = handle;
      if (tree.find() === handle) found++;
    }
    return searches;
  };
  tails.comparisons = 0;
  search();
  report(keys, "order: whole keys looked at per search", tails.comparisons / searches, "");
  report(keys, "order: find", measure(search));
  const walk = () => {
    let steps = 0;
    for (let handle = tree.smallest(); handle !== 0 && steps < searches; handle = tree.next(handle)) {
      tails.searched = handle;
      steps++;
    }
    return steps;
  };
  report(keys, "order: next", measure(walk));
  const churn = () => {
    for (const handle of probes) {
      tails.searched = handle;
      if (tree.remove() === handle) tree.insert(handle);
    }
    return 2 * searches;
  };
  report(keys, "order: remove, insert", measure(churn));
  report(keys, "tree of words: read, after that", measure(searchWords));
  if (found !== searches * (3 * (warmUps + repetitions) + 1)) throw new Error(`keys were lost: ${found}`);
}
