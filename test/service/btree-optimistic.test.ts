/**
 * The btree under opt-PSMR (section V-B): threads attempt inserts and deletes in leaves of their own, and whatever fails its safety check
 * executes alone, in any thread. Which commands fail is replicated state; what they look at is nobody else's.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, Prng } from "#src/base/index.js";
import { ConfigError, type Run, type SnapshotSource, streamFor } from "#src/model/index.js";
import { Btree, LEAF_CAPACITY, sharedBtreeWith, WordTree } from "#src/service/index.js";
import { CHUNK_SHIFT, COUNT_MASK, LEVEL_MASK, LEVEL_SHIFT, NODE_SHIFT } from "#src/service/tree/layout.js";
import { SharedMemory } from "#src/service/tree/shared-memory.js";
import { type Command, execute, executeRun, readReplies, type Reply, runOf } from "./btree-command.js";
import { digestOf, restoreInto, snapshotOf } from "./kv-command.js";
import { replace } from "./replace-method.js";

const BYTES_MAX = 64 * 1024 * 1024;
const LEAF_MINIMUM = Math.floor(LEAF_CAPACITY / 3);

const insert = (key: number, value = 1): Command => ({ operation: "insert", key: BigInt(key), value: BigInt(value) });
const remove = (key: number): Command => ({ operation: "delete", key: BigInt(key) });
const everything: Command = { operation: "range", key: 0n, last: 0xffffffffn, pairs: 65_536 };

type Bounds = readonly (readonly [low: number, high: number])[];

/** Bounds that cut the keys below `keys` into equal parts. */
const cut = (keys: number, threads: number): Bounds =>
  Array.from({ length: threads - 1 }, (_, i) => [Math.floor(((i + 1) * keys) / threads), 0] as const);

/** Attempts a run from a command on; says where it stopped and what was replied. */
function attempt(view: Btree, run: Run, first: number, thread: number): [number, Reply[]] {
  const writer = new ByteWriter();
  writer.u32(7);
  run.repliesAt = 4;
  const done = view.attempt(run, first, thread, writer);
  const replies = readReplies(writer, 4);
  assert.equal(replies.length, done - first);
  return [done, replies];
}

/** What the safety check says of each command as things are now. */
function verdicts(view: Btree, run: Run, thread: number): number[] {
  const pass = new Uint8Array(run.count);
  view.safetyCheck(run, thread, pass);
  return [...pass];
}

/** One tree with a view for each thread. */
class Views {
  readonly views: Btree[];
  readonly bounds: Bounds;

  constructor(bounds: Bounds, fill: (root: Btree) => void) {
    const threads = bounds.length + 1;
    const root = new Btree({ bounds });
    fill(root);
    const description = root.share(threads, BYTES_MAX);
    this.bounds = bounds;
    this.views = [root];
    for (let thread = 1; thread < threads; thread++) this.views.push(Btree.attach(description, thread, { bounds }));
  }

  view(thread: number): Btree {
    return this.views[thread] as Btree;
  }

  /** A barrier over all threads, at which one of them executes. */
  meet<T>(executor: number, work: (view: Btree) => T): T {
    for (const view of this.views) view.publish(false);
    const view = this.view(executor);
    view.adopt();
    const result = work(view);
    view.publish(true);
    for (const other of this.views) if (other !== view) other.adopt();
    return result;
  }

  /** The thread to which a command goes if all goes well. */
  threadOf(command: Command): number {
    const masks = new Uint32Array(1);
    this.view(0).groups(runOf([command]), 1, masks);
    return streamFor(masks, 1, this.views.length, 0) - 1;
  }

  digest(): string {
    return this.meet(0, (view) => digestOf(view));
  }
}

/** Commands in keys below `keys`: mostly inserts and deletes, which come in waves so that leaves are met at both limits. */
function randomCommand(prng: Prng, keys: number, inserts: number): Command {
  const key = BigInt(prng.below(keys));
  if (prng.chance(0.8)) return prng.chance(inserts) ? insert(Number(key), prng.u32()) : remove(Number(key));
  if (prng.chance(0.4)) return { operation: "read", key };
  if (prng.chance(0.5)) return { operation: "update", key, value: BigInt(prng.u32()) };
  return { operation: "range", key, last: key + BigInt(prng.below(200)), pairs: 1 + prng.below(300) };
}

/** Lets other threads work while a node is being written into a snapshot. */
class InterruptedWriter extends ByteWriter {
  interrupt: () => void = () => {};

  override skip(count: number): number {
    this.interrupt();
    return super.skip(count);
  }
}

describe("opt-PSMR V-B: commands that threads attempt", () => {
  test("pass as the safety check says, and are those of a tree alone, in any order of the threads' turns", () => {
    const seen = { passed: 0, failed: 0, snapshots: 0 };
    for (let seed = 1; seed <= 9; seed++) {
      const prng = new Prng(seed);
      const threads = 1 + prng.below(5);
      const keys = 400 + prng.below(4000);
      const preload = Array.from({ length: prng.below(2 * keys) }, () => insert(prng.below(keys)));
      const alone = new Btree();
      execute(alone, preload);
      const views = new Views(cut(keys, threads), (root) => execute(root, preload));
      let snapshot: { readonly source: SnapshotSource; readonly bytes: ByteWriter; readonly digest: string } | null =
        null;
      /** Some commands of one thread; those that fail execute alone before anybody goes on. */
      const turn = (thread: number, count: number, mayFail: boolean): void => {
        const view = views.view(thread);
        const commands = Array.from({ length: count }, () =>
          randomCommand(prng, keys, seed % 2 === 0 ? 0.7 : 0.4),
        ).filter((command) => views.threadOf(command) === thread);
        for (let first = 0; first < commands.length;) {
          const run = runOf(commands);
          const [done, replies] = attempt(view, run, first, thread);
          // One by one the check says the same of the commands that passed in front of their turn, and of the one that did not.
          assert.deepEqual(replies, execute(alone, commands.slice(first, done)), `seed ${seed}`);
          seen.passed += replies.length;
          if (done === commands.length) return;
          assert.deepEqual(verdicts(view, runOf([commands[done] as Command]), thread), [0], `seed ${seed}`);
          seen.failed++;
          first = done + 1;
          if (!mayFail) continue;
          const failed = [commands[done] as Command];
          assert.deepEqual(
            views.meet(thread, (one) => execute(one, failed)),
            execute(alone, failed),
            `seed ${seed}`,
          );
        }
      };
      for (let round = 0; round < 150; round++) {
        const thread = prng.below(threads);
        // What passes when it is asked about alone passes when it is attempted.
        const one = randomCommand(prng, keys, 0.5);
        const own = views.threadOf(one);
        if (own >= 0) {
          const [verdict] = verdicts(views.view(own), runOf([one]), own);
          const [done, replies] = attempt(views.view(own), runOf([one]), 0, own);
          assert.equal(done, verdict, `seed ${seed}`);
          if (done === 1) assert.deepEqual(replies, execute(alone, [one]), `seed ${seed}`);
        }
        turn(thread, 60, true);
        if (snapshot === null && prng.chance(0.1)) {
          const bytes = new InterruptedWriter(64, BYTES_MAX);
          snapshot = views.meet(0, (view) => ({ source: view.snapshot(), bytes, digest: digestOf(view) }));
          // Other threads insert and delete in leaves that are being read.
          bytes.interrupt = () => {
            if (threads > 1 && prng.chance(0.3)) turn(1 + prng.below(threads - 1), 8, false);
          };
        }
        if (snapshot !== null && prng.chance(0.3)) {
          if (snapshot.source.next(snapshot.bytes, 1 + prng.below(9000))) continue;
          snapshot.source.close();
          const restored = new Btree();
          restoreInto(restored.restore(), snapshot.bytes.toBytes(), [700]);
          assert.equal(digestOf(restored), snapshot.digest, `seed ${seed}`);
          seen.snapshots++;
          snapshot = null;
        }
        if (prng.chance(0.1)) assert.equal(views.digest(), digestOf(alone), `seed ${seed}`);
      }
      snapshot?.source.close();
      assert.equal(views.digest(), digestOf(alone), `seed ${seed}`);
      for (const view of views.views) {
        assert.deepEqual(view.size().entries, alone.size().entries);
        assert.deepEqual(execute(view, [everything]), execute(alone, [everything]), `seed ${seed}`);
      }
    }
    assert.ok(seen.passed > 20_000 && seen.failed > 300 && seen.snapshots > 10, JSON.stringify(seen));
  });

  test("attempted in groups or one by one they pass and fail alike", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 }), fc.integer({ min: 1, max: 5 }), (seed, threads) => {
        const prng = new Prng(seed);
        const keys = 100 + prng.below(2000);
        const bounds = cut(keys, threads);
        const preload = Array.from({ length: prng.below(2 * keys) }, () => insert(prng.below(keys)));
        const [grouped, single, checked] = [true, false, false].map((groupDescent) => {
          const service = new Btree({ bounds, groupDescent });
          execute(service, preload);
          return service;
        }) as [Btree, Btree, Btree];
        const thread = prng.below(threads);
        const from = Math.floor((thread * keys) / threads);
        const width = Math.floor(((thread + 1) * keys) / threads) - from;
        const commands = Array.from({ length: 200 }, () => {
          const key = from + prng.below(width);
          return prng.chance(0.6) ? insert(key) : remove(key);
        });
        const vector = (service: Btree, how: (run: Run, i: number) => boolean): string => {
          const run = runOf(commands);
          let text = "";
          for (let i = 0; i < run.count; i++) text += how(run, i) ? "+" : "-";
          return `${text} ${digestOf(service)}`;
        };
        let passed = 0;
        const inGroups = vector(grouped, (run, i) => {
          if (i >= passed) [passed] = attempt(grouped, run, i, thread);
          return i < passed || (passed++, false);
        });
        assert.equal(
          inGroups,
          vector(single, (_, i) => attempt(single, runOf([commands[i] as Command]), 0, thread)[0] === 1),
        );
        assert.equal(
          inGroups,
          vector(checked, (_, i) => {
            const one = commands[i] as Command;
            const [pass] = verdicts(checked, runOf([one]), thread);
            if (pass === 1) execute(checked, [one]);
            return pass === 1;
          }),
        );
      }),
      { numRuns: 60 },
    );
  });

  test("a delete fails in a leaf with the fewest items, whether its sibling would lend or merge", () => {
    // Two leaves: the first with the fewest items, the second with so many.
    for (const sibling of [LEAF_MINIMUM, LEAF_MINIMUM + 1, LEAF_CAPACITY - 1, LEAF_CAPACITY]) {
      const service = new Btree();
      execute(
        service,
        Array.from({ length: LEAF_CAPACITY + 1 }, (_, i) => insert(10 * i)),
      );
      // At the right edge all but the last of a full leaf stay, and the new item goes to that one.
      const first = 10 * LEAF_CAPACITY;
      const inFirst = LEAF_CAPACITY - 1;
      execute(
        service,
        Array.from({ length: sibling - 2 }, (_, i) => insert(first + 1 + i)),
      );
      assert.deepEqual(
        leavesOf(service).map(({ count }) => count),
        [inFirst, sibling],
      );
      for (let i = 0; i < inFirst - LEAF_MINIMUM; i++) {
        assert.deepEqual(attempt(service, runOf([remove(10 * i)]), 0, 0), [1, ["ok"]]);
      }
      const last = remove(10 * (inFirst - 1));
      assert.deepEqual(attempt(service, runOf([last]), 0, 0), [0, []], `the sibling has ${sibling}`);
      // What is not there changes nothing.
      assert.deepEqual(attempt(service, runOf([remove(5)]), 0, 0), [1, [null]]);
      const before = digestOf(service);
      assert.deepEqual(execute(service, [last]), ["ok"]);
      assert.notEqual(digestOf(service), before);
    }
  });

  test("a leaf that lies across a bound fails every insert and delete, whatever there is room for", () => {
    const bounds: Bounds = [[105, 0]];
    const service = new Btree({ bounds });
    execute(
      service,
      Array.from({ length: 10 * LEAF_CAPACITY }, (_, i) => insert(i)),
    );
    const alone = runOf([insert(100), insert(104), remove(104), remove(1000)]);
    assert.deepEqual(verdicts(service, alone, 0), [0, 0, 0, 0]);
    for (const [i, thread] of [0, 0, 0].entries()) assert.equal(attempt(service, alone, i, thread)[0], i);
    assert.equal(attempt(service, runOf([remove(106)]), 0, 1)[0], 0);
    // Reads and updates are in nobody's way.
    const update: Command = { operation: "update", key: 104n, value: 9n };
    assert.deepEqual(attempt(service, runOf([update, { operation: "read", key: 104n }]), 0, 0), [2, ["ok", 9n]]);
  });
});

// A view that may not look at what is not its own.

/** What a thread may touch of a tree that others write, for as long as a run takes. */
interface Allowed {
  readonly leaves: ReadonlySet<number>;
  /** Leaves of which only values may be written. */
  readonly shared: ReadonlySet<number>;
}

const VALUE_WORDS = 8;

/** Chunks of nodes that throw when somebody touches a leaf which is not allowed, or writes an inner node. */
function guarded(words: Uint32Array, chunk: number, allowed: () => Allowed | null): Uint32Array {
  const check = (key: string | symbol, write: boolean): void => {
    const now = allowed();
    const index = typeof key === "string" ? Number(key) : Number.NaN;
    if (now === null || !(index < words.length)) return;
    const place = index >>> NODE_SHIFT;
    if (place >= 1 << CHUNK_SHIFT) throw new Error("a side field was touched");
    const node = (chunk << CHUNK_SHIFT) + place;
    const header = words[place << NODE_SHIFT] as number;
    if (((header >>> LEVEL_SHIFT) & LEVEL_MASK) > 0) {
      if (write) throw new Error(`inner node ${node} was written`);
      return;
    }
    if (!now.leaves.has(node)) throw new Error(`leaf ${node} of another thread was touched`);
    // Cells of sixteen words begin behind the header's; the latter half of each are values.
    const word = index & ((1 << NODE_SHIFT) - 1);
    if (write && now.shared.has(node) && (word < 16 || (word & 15) < VALUE_WORDS)) {
      throw new Error(`keys of leaf ${node}, which is not one thread's, were written`);
    }
  };
  return new Proxy(words, {
    get: (target, key) => {
      check(key, false);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
    set: (target, key, value) => {
      check(key, true);
      return Reflect.set(target, key, value, target);
    },
  });
}

describe("opt-PSMR V-B: what a command looks at", () => {
  const KEYS = 3000;
  const THREADS = 3;

  /** Random runs in the middle thread of three, which may touch inner nodes and the leaves of its own commands. */
  function play(seed: number): number {
    const prng = new Prng(seed);
    const bounds = cut(KEYS, THREADS);
    const root = new Btree({ bounds });
    execute(
      root,
      Array.from({ length: 2500 }, () => insert(prng.below(KEYS))),
    );
    const description = root.share(THREADS + 1, BYTES_MAX);
    let allowed: Allowed | null = null;
    const unguard = replace(SharedMemory.prototype, "chunk", (before) => {
      return function chunk(this: SharedMemory, index) {
        const words = before.call(this, index);
        return this.thread === 1 ? guarded(words, index, () => allowed) : words;
      };
    });
    const view = Btree.attach(description, 1, { bounds });
    unguard();
    const looking = WordTree.attach(description, THREADS);
    const meet = (work: () => void): void => {
      for (const one of [root, view]) one.publish(false);
      view.adopt();
      work();
      view.publish(true);
      root.adopt();
      looking.adopt();
    };
    const lower = KEYS / THREADS;
    let failed = 0;
    for (let round = 0; round < 400; round++) {
      const commands = Array.from({ length: 1 + prng.below(9) }, (): Command => {
        const key = lower + prng.below(KEYS / THREADS);
        const kind = prng.below(8);
        if (kind < 3) return insert(key, prng.u32());
        if (kind < 6) return remove(key);
        if (kind === 6) return { operation: "update", key: BigInt(key), value: 7n };
        const last = BigInt(Math.min(key + prng.below(300), 2 * lower - 1));
        return { operation: "range", key: BigInt(key), last, pairs: 400 };
      });
      const leaves = new Set<number>();
      const shared = new Set<number>();
      for (const command of commands) {
        if (command.operation === "bytes") continue;
        const last = command.operation === "range" ? Number(command.last) : Number(command.key);
        for (let key = Number(command.key); key <= last; key++) {
          const leaf = looking.leafRange(key, 0);
          leaves.add(leaf);
          if (looking.lowerLow < lower || !looking.bounded || looking.upperLow > 2 * lower) shared.add(leaf);
        }
      }
      const run = runOf(commands);
      allowed = { leaves, shared };
      const pass = verdicts(view, run, 1);
      const [done] = attempt(view, run, 0, 1);
      allowed = null;
      // Behind the first that fails the structure is another one, and so are the leaves of what is left.
      if (done === commands.length) continue;
      assert.ok(done > 0 || pass[done] === 0, `seed ${seed}`);
      failed++;
      meet(() => execute(view, [commands[done] as Command]));
    }
    return failed;
  }

  test("inner nodes and the leaf of its key, and it writes what is in that leaf alone", () => {
    for (let seed = 1; seed <= 3; seed++) assert.ok(play(seed) > 20, `seed ${seed}`);
  });

  for (const [name, plant] of [
    [
      "the check looks what a sibling could lend",
      () =>
        replace(WordTree.prototype, "wouldUnderflow", (before) => {
          return function planted(this: WordTree, leaf, low, high) {
            if (!before.call(this, leaf, low, high)) return false;
            this.leafRange(low, high);
            return !this.bounded || this.countOf(this.leafOf(this.upperLow, this.upperHigh)) <= LEAF_MINIMUM;
          };
        }),
    ],
    [
      "the check forgets that leaves borrow and merge",
      () => replace(WordTree.prototype, "wouldUnderflow", () => () => false),
    ],
    [
      "a range looks into the leaf behind its last key",
      () =>
        replace(WordTree.prototype, "writePairs", (before) => {
          return function planted(this: WordTree, low, high, lastLow, lastHigh, pairs, writer) {
            this.leafRange(lastLow, lastHigh);
            if (this.bounded) this.countOf(this.leafOf(this.upperLow, this.upperHigh));
            return before.call(this, low, high, lastLow, lastHigh, pairs, writer);
          };
        }),
    ],
  ] as const) {
    test(`it is found if ${name}`, () => {
      const takeAway = plant();
      try {
        assert.throws(() => play(1), /was touched|was written|were written/);
      } finally {
        takeAway();
      }
    });
  }
});

/** The leaves of a tree as its snapshot has them: their lower bounds and how many items they have. */
function leavesOf(service: Btree): { readonly lower: number; readonly count: number }[] {
  const bytes = snapshotOf(service.snapshot());
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const leaves: { lower: number; count: number }[] = [];
  /** Reads a node and those below it; returns where the next one begins. */
  const walk = (at: number, lower: number): number => {
    const header = view.getUint32(at, true);
    const count = header & COUNT_MASK;
    if (header >>> LEVEL_SHIFT === 0) {
      leaves.push({ lower, count });
      return at + 4 + 16 * count;
    }
    let next = at + 4 + 8 * (count - 1);
    for (let i = 0; i < count; i++) next = walk(next, i === 0 ? lower : view.getUint32(at + 4 * i, true));
    return next;
  };
  walk(40, 0);
  return leaves;
}

describe("opt-PSMR: how many fail", () => {
  test("uniform inserts and deletes, 8 threads, 100,000 keys: near what occupancy and boundaries of leaves let expect", (t) => {
    const seed = 11;
    const prng = new Prng(seed);
    const keys = 200_000;
    const threads = 8;
    const bounds = cut(keys, threads);
    const service = new Btree({ bounds });
    // Every key is there with probability one half, and stays so.
    const order = Array.from({ length: keys }, (_, i) => i);
    for (let i = keys - 1; i > 0; i--) {
      const j = prng.below(i + 1);
      [order[i], order[j]] = [order[j] as number, order[i] as number];
    }
    for (let i = 0; i < keys / 2; i += 1000)
      execute(
        service,
        order.slice(i, i + 1000).map((key) => insert(key)),
      );
    /**
     * How many of the next commands fail. In a leaf whose range has r keys, n of them there, an insert finds its key missing with the
     * probability (r - n) / r, a delete finds it with n / r: so n walks, and where it would leave the limits the command fails and the leaf
     * is another one from then on. In a leaf that lies across a bound all fail.
     */
    const estimate = (commands: number): number => {
      const leaves = leavesOf(service);
      let fails = 0;
      for (const [i, { lower, count }] of leaves.entries()) {
        const upper = leaves[i + 1]?.lower ?? keys;
        const range = upper - lower;
        const here = (commands * range) / keys;
        if (bounds.some(([bound]) => lower < bound && bound < upper)) {
          fails += here;
          continue;
        }
        let weights = new Float64Array(LEAF_CAPACITY + 1);
        weights[count] = 1;
        for (let step = 0; step < here; step++) {
          const share = Math.min(1, here - step);
          const next = weights.map((weight) => weight * (1 - share));
          for (const [n, weight] of weights.entries()) {
            const added = (share * weight * (range - n)) / range / 2;
            const removed = (share * weight * n) / range / 2;
            next[n] = (next[n] as number) + share * weight - added - removed;
            if (n === LEAF_CAPACITY) fails += added;
            else next[n + 1] = (next[n + 1] as number) + added;
            if (n <= LEAF_MINIMUM) fails += removed;
            else next[n - 1] = (next[n - 1] as number) + removed;
          }
          weights = next;
        }
      }
      return fails;
    };
    const parts = 15;
    const each = 20_000;
    let failed = 0;
    let expected = 0;
    const fail = (commands: readonly Command[], thread: number): void => {
      const run = runOf(commands);
      const writer = new ByteWriter();
      for (let first = 0; first < run.count;) {
        writer.clear();
        first = service.attempt(run, first, thread, writer);
        if (first === run.count) break;
        failed++;
        execute(service, [commands[first] as Command]);
        first++;
      }
    };
    for (let part = 0; part < parts; part++) {
      expected += estimate(each) / (parts * each);
      const runs = Array.from({ length: threads }, (): Command[] => []);
      for (let i = 0; i < each; i++) {
        const key = prng.below(keys);
        runs[Math.floor((key * threads) / keys)]?.push(prng.chance(0.5) ? insert(key) : remove(key));
      }
      for (const [thread, commands] of runs.entries()) fail(commands, thread);
    }
    const rate = failed / (parts * each);
    const boundaries = (threads - 1) / leavesOf(service).length;
    const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
    t.diagnostic(
      `fail rate ${percent(rate)}, expected ${percent(expected)}, of which about ${percent(boundaries)} at the bounds of threads`,
    );
    assert.ok(rate > expected / 1.25 && rate < expected * 1.25, `seed ${seed}: ${rate}, expected ${expected}`);
  });
});

describe("opt-PSMR: the shape of the tree is replicated state", () => {
  test("a restored tree passes and fails the same commands; one that is loaded anew with its entries does not", () => {
    const prng = new Prng(3);
    const keys = 6000;
    const bounds = cut(keys, 4);
    const service = new Btree({ bounds });
    execute(
      service,
      Array.from({ length: 9000 }, () => (prng.chance(0.7) ? insert(prng.below(keys)) : remove(prng.below(keys)))),
    );
    const restored = new Btree({ bounds });
    // It has looked for the bounds of another tree before.
    attempt(restored, runOf([insert(1)]), 0, 0);
    restoreInto(restored.restore(), snapshotOf(service.snapshot()), [500]);
    const loaded = new Btree({ bounds });
    const [pairs] = execute(service, [everything]) as [[bigint, bigint][]];
    execute(
      loaded,
      pairs.map(([key, value]) => insert(Number(key), Number(value))),
    );
    assert.deepEqual(execute(loaded, [everything]), [pairs]);
    const commands = Array.from({ length: 3000 }, () => ({ key: prng.below(keys), adds: prng.chance(0.5) }));
    const vector = (one: Btree): string =>
      commands
        .map((command) => {
          const thread = Math.floor((command.key * 4) / keys);
          const what = [command.adds ? insert(command.key) : remove(command.key)];
          const [done] = attempt(one, runOf(what), 0, thread);
          if (done === 0) execute(one, what);
          return done;
        })
        .join("");
    const expected = vector(service);
    assert.ok(expected.includes("0"));
    assert.equal(vector(restored), expected);
    assert.notEqual(vector(loaded), expected);
    assert.equal(digestOf(restored), digestOf(service));
  });
});

describe("a btree with ranges of keys for groups", () => {
  test("cuts the key space where it is told, or into equal parts", () => {
    const masksOf = (
      module: ReturnType<typeof sharedBtreeWith>,
      optimistic: boolean,
      commands: Command[],
    ): number[] => {
      const masks = new Uint32Array(commands.length);
      const mapping = optimistic ? module.optimisticMapping?.(3) : module.mapping(3);
      mapping?.masks(runOf(commands), masks);
      return [...masks];
    };
    const third = 2n ** 64n / 3n;
    const at = (key: bigint): Command => ({ operation: "insert", key, value: 0n });
    const equal = sharedBtreeWith();
    assert.deepEqual(
      masksOf(equal, true, [at(third - 1n), at(third), at(2n * third - 1n), at(2n * third)]),
      [1, 2, 2, 4],
    );
    const told = sharedBtreeWith(["1000", String(2n ** 63n)]);
    const commands: Command[] = [at(999n), at(1000n), at(2n ** 63n), { operation: "update", key: 1000n, value: 1n }];
    assert.deepEqual(masksOf(told, true, commands), [1, 2, 4, 2]);
    assert.deepEqual(masksOf(told, false, commands), [7, 7, 7, 2]);
    const root = told.createShared(3);
    const other = told.attach(root.share(), 2, 3);
    assert.equal(executeRun(other, runOf([{ operation: "read", key: 1n }]))[0], null);
    assert.throws(() => told.mapping(2), ConfigError);
    assert.throws(() => sharedBtreeWith(["5", "5"]).createShared(3), ConfigError);
  });

  test("by a hash there is nothing to attempt", () => {
    const hashed = new Btree({ hashedGroups: 2 });
    assert.throws(() => hashed.attempt(runOf([insert(1)]), 0, 0, new ByteWriter()), /by bounds/);
    assert.throws(() => new Btree().attempt(runOf([insert(1)]), 0, 1, new ByteWriter()), /thread 1 of 1/);
  });
});
