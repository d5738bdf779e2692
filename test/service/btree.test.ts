/** The btree service against a map: replies, undo, snapshots while it goes on, limits, what it tells schedulers. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Prng } from "#src/base/index.js";
import {
  CheckpointDamagedError,
  emptyRun,
  READ_REPLIES_BYTES_TARGET,
  REPLIES_BYTES_MAX,
  type Service,
  UndoLog,
} from "#src/model/index.js";
import { Btree, btree, LEAF_CAPACITY, RANGE_PAIRS_MAX } from "#src/service/index.js";
import { type Command, execute, executeRun, type Reply, runOf } from "./btree-command.js";
import { digestOf, restoreInto, snapshotOf } from "./kv-command.js";

const KEY_MAX = 2n ** 64n - 1n;

const insert = (key: bigint, value: bigint): Command => ({ operation: "insert", key, value });
const update = (key: bigint, value: bigint): Command => ({ operation: "update", key, value });
const remove = (key: bigint): Command => ({ operation: "delete", key });
const read = (key: bigint): Command => ({ operation: "read", key });
const range = (key: bigint, last: bigint, pairs: number): Command => ({ operation: "range", key, last, pairs });

/** Replies of a map, which is all the state there should be. */
function modelReply(state: Map<bigint, bigint>, command: Command): Reply {
  switch (command.operation) {
    case "insert":
      if (state.has(command.key)) return null;
      state.set(command.key, command.value);
      return "ok";
    case "update":
      if (!state.has(command.key)) return null;
      state.set(command.key, command.value);
      return "ok";
    case "delete":
      return state.delete(command.key) ? "ok" : null;
    case "read":
      return state.get(command.key) ?? null;
    case "range":
      return [...state]
        .filter(([key]) => key >= command.key && key <= command.last)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .slice(0, command.pairs);
    default:
      throw new Error("not modelled");
  }
}

/** Keys that meet often, fill whole leaves, differ in either word alone, and lie at both ends. */
const key = fc.oneof(
  { weight: 6, arbitrary: fc.nat(300).map(BigInt) },
  { weight: 2, arbitrary: fc.nat(200).map((n) => BigInt(n) << 32n) },
  { weight: 2, arbitrary: fc.nat(200).map((n) => KEY_MAX - BigInt(n) * 0x80000001n) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: KEY_MAX }) },
);
const value = fc.bigInt({ min: 0n, max: KEY_MAX });
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(key, value).map(([k, v]) => insert(k, v)) },
  { weight: 4, arbitrary: key.map(remove) },
  { weight: 2, arbitrary: fc.tuple(key, value).map(([k, v]) => update(k, v)) },
  { weight: 1, arbitrary: key.map(read) },
  { weight: 1, arbitrary: fc.tuple(key, key, fc.integer({ min: 1, max: 200 })).map(([a, b, n]) => range(a, b, n)) },
);
const commands = fc.array(command, { maxLength: 700, size: "max" });

/** Fills a tree so that a few commands more split or merge anywhere. */
function load(service: Service, count: number, keyOf: (i: number) => bigint): void {
  const list = Array.from({ length: count }, (_, i) => insert(keyOf(i), BigInt(i)));
  for (let i = 0; i < count; i += 1000) execute(service, list.slice(i, i + 1000));
}

describe("btree", () => {
  test("does what a map does", () => {
    fc.assert(
      fc.property(commands, (list) => {
        const service = btree.create();
        const state = new Map<bigint, bigint>();
        assert.deepEqual(
          execute(service, list),
          list.map((one) => modelReply(state, one)),
        );
        assert.equal(service.size().entries, state.size);
        assert.deepEqual(execute(service, [range(0n, KEY_MAX, RANGE_PAIRS_MAX)]), [
          modelReply(state, range(0n, KEY_MAX, RANGE_PAIRS_MAX)),
        ]);
      }),
      { numRuns: 100 },
    );
  });

  for (const order of ["ascending", "descending", "random", "random over all bits"] as const) {
    test(`grows and shrinks over several levels, ${order}`, () => {
      const seed = 5;
      const prng = new Prng(seed);
      const count = 30_000;
      const numbers = Array.from({ length: count }, (_, i) => i);
      if (order.startsWith("random")) {
        for (let i = count - 1; i > 0; i--) {
          const j = prng.below(i + 1);
          [numbers[i], numbers[j]] = [numbers[j] as number, numbers[i] as number];
        }
      } else if (order === "descending") numbers.reverse();
      const keyOf = (n: number): bigint =>
        order === "random over all bits" ? (BigInt(n) * 0x9e3779b97f4a7c15n) & KEY_MAX : BigInt(n);
      const service = btree.create();
      load(service, count, (i) => keyOf(numbers[i] as number));
      assert.equal(service.size().entries, count);
      if (order === "ascending") assert.ok(service.size().bytes / count < 17.9, "full nodes behind the right edge");
      if (order.startsWith("random")) assert.ok(service.size().bytes / count < 26.5, `seed ${seed}`);
      for (let i = 0; i < count; i += 500) {
        const some = numbers.slice(i, i + 500);
        assert.deepEqual(
          execute(
            service,
            some.map((n) => read(keyOf(n))),
          ),
          some.map((_, j) => BigInt(i + j)),
        );
      }
      // All but every seventh, then the rest: what is left is in order, and nothing of the empty tree is left over.
      for (const rest of [1, 0]) {
        const some = numbers.filter((n) => (n % 7 === 0 ? 0 : 1) === rest);
        for (let i = 0; i < some.length; i += 500) {
          assert.ok(
            execute(
              service,
              some.slice(i, i + 500).map((n) => remove(keyOf(n))),
            ).every((reply) => reply === "ok"),
          );
        }
        const left = execute(service, [range(0n, KEY_MAX, RANGE_PAIRS_MAX)])[0] as [bigint, bigint][];
        assert.equal(left.length, rest === 1 ? Math.ceil(count / 7) : 0);
        assert.ok(left.every(([at], i) => i === 0 || at > (left[i - 1] as [bigint, bigint])[0]));
        if (rest === 1) assert.ok(service.size().bytes / left.length < 60, "nodes that lost their items merged");
      }
      assert.equal(digestOf(service), digestOf(btree.create()));
      assert.equal(service.size().bytes, btree.create().size().bytes);
    });
  }

  test("answers the same whatever the commands are grouped by", () => {
    fc.assert(
      fc.property(commands, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (list, sizes) => {
        const whole = btree.create();
        const parts = btree.create();
        const replies: Reply[] = [];
        for (let at = 0, i = 0; at < list.length; i++) {
          const size = sizes[i % sizes.length] as number;
          replies.push(...execute(parts, list.slice(at, at + size)));
          at += size;
        }
        assert.deepEqual(replies, execute(whole, list));
        assert.equal(digestOf(parts), digestOf(whole));
      }),
      { numRuns: 60 },
    );
  });
});

describe("btree takes changes back", () => {
  test("content, shape and digest, at any mark", () => {
    fc.assert(
      fc.property(
        commands,
        fc.array(commands, { maxLength: 4 }),
        fc.nat(),
        fc.boolean(),
        (before, parts, choice, marked) => {
          const service = btree.create();
          load(service, 500, (i) => BigInt(i * 3));
          execute(service, before);
          const source = marked ? service.snapshot() : null;
          const undo = new UndoLog();
          const states: { mark: number; state: unknown }[] = [];
          const stateOf = (): unknown => [digestOf(service), service.size().entries, snapshotOf(service.snapshot())];
          const expected = stateOf();
          for (const part of parts) {
            states.push({ mark: undo.mark(), state: stateOf() });
            execute(service, part, undo);
          }
          states.push({ mark: undo.mark(), state: stateOf() });
          // Back to some mark, on from there, and back to the beginning.
          const { mark, state } = states[choice % states.length] as (typeof states)[number];
          service.rollback(undo, mark);
          assert.deepEqual(stateOf(), state);
          execute(service, before, undo);
          service.rollback(undo, 0);
          assert.deepEqual(stateOf(), expected);
          if (source !== null) assert.deepEqual(snapshotOf(source), (expected as unknown[])[2]);
          // And it works on: as a service that never did any of it.
          const anew = btree.create();
          load(anew, 500, (i) => BigInt(i * 3));
          execute(anew, before);
          const more = parts.flat();
          assert.deepEqual(execute(service, more), execute(anew, more));
          assert.equal(digestOf(service), digestOf(anew));
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("btree's snapshots", () => {
  test("hold the state as it was, in slices of any size, while it goes on changing", () => {
    fc.assert(
      fc.property(
        commands,
        fc.array(commands, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 3000 }),
        (before, parts, target) => {
          const service = btree.create();
          load(service, 2000, (i) => (BigInt(i) * 0x9e3779b9n) % 100_000n);
          execute(service, before);
          const taken = parts.map((part) => {
            const expected = { digest: digestOf(service), bytes: snapshotOf(service.snapshot()) };
            const source = service.snapshot();
            execute(service, part);
            return { expected, source };
          });
          for (const { expected, source } of taken) {
            const bytes = snapshotOf(source, target);
            assert.deepEqual(bytes, expected.bytes);
            source.close();
            const restored = btree.create();
            execute(restored, [insert(1n, 1n)]);
            restoreInto(restored.restore(), bytes, [1, 7, target]);
            assert.equal(digestOf(restored), expected.digest);
            assert.deepEqual(snapshotOf(restored.snapshot()), expected.bytes);
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  test("keep the shape: a restored service goes on exactly like the one it was taken from", () => {
    fc.assert(
      fc.property(commands, commands, (before, after) => {
        const service = btree.create();
        load(service, 3000, (i) => BigInt(i));
        execute(service, before);
        const restored = btree.create();
        restoreInto(restored.restore(), snapshotOf(service.snapshot()), [1000]);
        assert.deepEqual(execute(restored, after), execute(service, after));
        assert.equal(digestOf(restored), digestOf(service));
        assert.deepEqual(snapshotOf(restored.snapshot()), snapshotOf(service.snapshot()));
      }),
      { numRuns: 40 },
    );
  });

  test("equal entries in trees of different shape have different digests", () => {
    const ascending = btree.create();
    const descending = btree.create();
    load(ascending, 500, (i) => BigInt(i));
    for (let i = 499; i >= 0; i--) execute(descending, [insert(BigInt(i), BigInt(i))]);
    assert.deepEqual(execute(ascending, [range(0n, KEY_MAX, 500)]), execute(descending, [range(0n, KEY_MAX, 500)]));
    assert.notEqual(digestOf(ascending), digestOf(descending));
  });

  test("take little memory, and give it back", () => {
    const service = btree.create();
    load(service, 50_000, (i) => (BigInt(i) * 7_368_787n) % 50_000n);
    const before = service.size().bytes;
    const source = service.snapshot();
    let most = 0;
    const prng = new Prng(1);
    for (let i = 0; i < 400; i++) {
      execute(
        service,
        Array.from({ length: 100 }, () => update(BigInt(prng.below(50_000)), 1n)),
      );
      most = Math.max(most, service.size().bytes);
    }
    assert.ok(most <= 2 * before, "one copy of each node at most");
    source.close();
    load(service, 60_000, (i) => BigInt(100_000 + i));
    assert.ok(service.size().bytes < most + 100_000, "copies are used again");
  });
});

describe("btree's sink", () => {
  const service = btree.create();
  load(service, 3000, (i) => (BigInt(i) * 0x9e3779b97f4a7c15n) & KEY_MAX);
  for (let i = 0; i < 2000; i++) execute(service, [remove((BigInt(i) * 0x9e3779b97f4a7c15n) & KEY_MAX)]);
  const snapshot = snapshotOf(service.snapshot());

  test("refuses a snapshot with any byte changed, one that ends early, and one that goes on", () => {
    fc.assert(
      fc.property(
        fc.nat(snapshot.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.integer({ min: 1, max: 5000 }),
        (at, bits, chunk) => {
          const changed = snapshot.slice();
          changed[at] = (changed[at] as number) ^ bits;
          const into = btree.create();
          execute(into, [insert(1n, 2n)]);
          const before = digestOf(into);
          assert.throws(() => restoreInto(into.restore(), changed, [chunk]), CheckpointDamagedError);
          assert.throws(() => restoreInto(into.restore(), snapshot.slice(0, at), [chunk]), CheckpointDamagedError);
          assert.throws(
            () => restoreInto(into.restore(), new Uint8Array([...snapshot, bits]), [chunk]),
            CheckpointDamagedError,
          );
          assert.equal(digestOf(into), before);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("refuses keys out of order or range, and nodes with too many or too few items, before it looks at the digest", () => {
    // The root, its first children, and the first leaf stand one behind the other.
    const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer);
    const rootItems = snapshot[40] as number;
    const leaf = 40 + 4 + 8 * (rootItems - 1);
    const leafItems = snapshot[leaf] as number;
    assert.equal(snapshot[41], 1);
    assert.equal(snapshot[leaf + 1], 0);
    const cases: [string, (bytes: Uint8Array) => void][] = [
      ["do not ascend", (bytes) => view(bytes).setUint32(44 + 4 * (rootItems - 1), 0xffffffff, true)],
      ["do not ascend", (bytes) => view(bytes).setUint32(leaf + 4 + 4 * leafItems, 0xffffffff, true)],
      ["not in the range", (bytes) => view(bytes).setUint32(leaf + 4 * (2 * leafItems), 0xffffffff, true)],
      ["items, allowed are", (bytes) => (bytes[40] = 85)],
      ["items, allowed are", (bytes) => (bytes[40] = 1)],
      ["items, allowed are", (bytes) => (bytes[leaf] = LEAF_CAPACITY + 1)],
      ["items, allowed are", (bytes) => (bytes[leaf] = 3)],
      ["one of level 1 is due", (bytes) => (bytes[41] = 2)],
      ["one of level 0 is due", (bytes) => (bytes[leaf + 1] = 1)],
      ["root is at level", (bytes) => (bytes[32] = 16)],
      ["reserved", (bytes) => (bytes[36] = 1)],
      ["number of entries", (bytes) => view(bytes).setFloat64(8, -1, true)],
      ["entries it says", (bytes) => view(bytes).setFloat64(8, 10, true)],
      ["entries and says", (bytes) => view(bytes).setFloat64(8, 1e9, true)],
      ["does not begin", (bytes) => (bytes[0] = 0)],
      ["format", (bytes) => (bytes[4] = 9)],
    ];
    for (const [reason, change] of cases) {
      const bytes = snapshot.slice();
      change(bytes);
      assert.throws(
        () => restoreInto(btree.create().restore(), bytes),
        (error) => error instanceof CheckpointDamagedError && error.message.includes(reason),
        reason,
      );
    }
  });
});

describe("btree refuses what is out of bounds and stays as it was", () => {
  const malformed = { error: "ERR malformed command" };
  const bytes = (...words: number[]): Command => ({
    operation: "bytes",
    bytes: new Uint8Array(new Uint32Array(words).buffer),
  });
  test("malformed commands get an error each, others beside them are executed", () => {
    const service = btree.create();
    execute(service, [insert(7n, 1n)]);
    const digest = digestOf(service);
    const bad = [
      bytes(4),
      bytes(8, 3),
      bytes(12, 3, 7),
      bytes(16, 0, 7, 0),
      bytes(16, 6, 7, 0),
      bytes(16, 3 | 0x100, 7, 0),
      bytes(16, 1, 7, 0),
      bytes(20, 3, 7, 0, 0),
      bytes(24, 5, 7, 0, 9, 0),
      bytes(24, 2, 7, 0, 9, 0),
      bytes(28, 1, 7, 0, 9, 0, 1),
    ];
    assert.deepEqual(
      execute(service, bad),
      bad.map(() => malformed),
    );
    assert.deepEqual(
      execute(service, [...bad, read(7n), ...bad]).filter((reply) => typeof reply === "bigint"),
      [1n],
    );
    const pairs = { error: `ERR a range brings 1 to ${RANGE_PAIRS_MAX} pairs` };
    assert.deepEqual(execute(service, [range(0n, 9n, 0), range(0n, 9n, RANGE_PAIRS_MAX + 1), range(9n, 0n, 1)]), [
      pairs,
      pairs,
      [],
    ]);
    assert.equal(digestOf(service), digest);
    const run = runOf(bad);
    const [low, high, writes] = [
      new Float64Array(bad.length),
      new Float64Array(bad.length),
      new Uint8Array(bad.length),
    ];
    service.conflicts(run, low, high, writes);
    service.groups(run, 0, new Uint32Array(bad.length));
    service.safetyCheck(run, 0, new Uint8Array(bad.length));
    assert.ok(run.offsets.every((at) => !service.isRead(run.view, at)));
    assert.ok(writes.every((one) => one === 0) && low.every((one, i) => one > (high[i] as number)));
  });

  test("random bytes as a command get exactly one reply", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 4, maxLength: 40 }),
        fc.nat(6),
        fc.boolean(),
        (noise, operation, plausible) => {
          const service = btree.create();
          const own = noise.slice();
          const view = new DataView(own.buffer);
          view.setUint32(0, own.length, true);
          if (plausible && own.length >= 8) view.setUint32(4, operation, true);
          const run = runOf([{ operation: "bytes", bytes: own }]);
          assert.equal(executeRun(service, run).length, 1);
          service.isRead(run.view, 1);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("commands that write are refused in a read-only run", () => {
    const service = btree.create();
    execute(service, [insert(1n, 1n)]);
    const digest = digestOf(service);
    const refused = { error: "ERR a command that writes was sent as an unordered read" };
    const run = runOf([insert(2n, 2n), read(1n), update(1n, 2n), remove(1n), range(0n, 9n, 9)], true);
    assert.deepEqual(executeRun(service, run), [refused, 1n, refused, refused, [[1n, 1n]]]);
    assert.deepEqual(
      [...run.offsets].map((at) => service.isRead(run.view, at)),
      [false, true, false, false, true],
    );
    assert.equal(digestOf(service), digest);
  });

  test("the replies of a run are bounded, those of reads come in parts", () => {
    const service = btree.create();
    load(service, RANGE_PAIRS_MAX + 10, (i) => BigInt(i));
    const all = range(0n, KEY_MAX, RANGE_PAIRS_MAX);
    const bytesOfOne = 12 + 16 * RANGE_PAIRS_MAX;
    const fit = Math.floor(REPLIES_BYTES_MAX / bytesOfOne);
    const replies = execute(service, [...Array.from({ length: fit + 2 }, () => all), read(3n)]);
    const lengths = replies.map((reply) => (Array.isArray(reply) ? reply.length : reply));
    const refused = {
      error: `ERR the replies of one block exceed ${REPLIES_BYTES_MAX} bytes; ask for fewer pairs at once`,
    };
    assert.deepEqual(lengths, [...Array.from({ length: fit }, () => RANGE_PAIRS_MAX), refused, refused, 3n]);
    const reads = runOf([all, all, all, read(3n)], true);
    const answered = executeRun(service, reads).length;
    assert.equal(answered, Math.floor(READ_REPLIES_BYTES_TARGET / bytesOfOne));
    assert.equal(executeRun(service, runOf([range(0n, 5n, 3), read(3n)], true)).length, 2);
  });
});

describe("btree tells schedulers", () => {
  test("what conflicts: commands that may not be exchanged overlap, and one of them writes", () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), command, command, (before, a, b) => {
        const outcome = (first: Command, second: Command): [Reply, Reply, Reply] => {
          const service = btree.create();
          execute(service, before);
          const [x, y] = execute(service, [first, second]) as [Reply, Reply];
          return [x, y, execute(service, [range(0n, KEY_MAX, 1000)])[0] as Reply];
        };
        const [x, y, state] = outcome(a, b);
        const [y2, x2, state2] = outcome(b, a);
        const isEqual = (one: Reply, other: Reply): boolean => {
          const text = (reply: Reply): string =>
            JSON.stringify(reply, (_, part: unknown) => (typeof part === "bigint" ? String(part) : part));
          return text(one) === text(other);
        };
        const commutes = isEqual(x, x2) && isEqual(y, y2) && isEqual(state, state2);
        const run = runOf([a, b]);
        const [low, high, writes] = [new Float64Array(2), new Float64Array(2), new Uint8Array(2)];
        btree.create().conflicts(run, low, high, writes);
        const overlap = (low[0] as number) <= (high[1] as number) && (low[1] as number) <= (high[0] as number);
        if (!commutes) assert.ok(overlap && (writes[0] === 1 || writes[1] === 1));
      }),
      { numRuns: 200 },
    );
  });

  const bounds = [
    [1000, 0],
    [0, 1],
  ] as const;

  test("whose groups a command concerns", () => {
    const service = new Btree({ bounds });
    const run = runOf([
      read(999n),
      read(1000n),
      update(2n ** 32n, 0n),
      range(5n, 1000n, 9),
      range(5n, KEY_MAX, 9),
      insert(5n, 0n),
      remove(1000n),
      range(9n, 5n, 1),
    ]);
    const masks = new Uint32Array(run.count);
    service.groups(run, 1, masks);
    assert.deepEqual([...masks], [1, 2, 4, 3, 7, 1, 2, 1]);
    service.groups(run, 0, masks);
    assert.deepEqual([...masks], [1, 2, 4, 3, 7, 7, 7, 1]);
    assert.throws(
      () =>
        new Btree({
          bounds: [
            [5, 0],
            [5, 0],
          ],
        }),
    );
    assert.throws(() => new Btree({ bounds: [[0, 0]] }));
    assert.throws(() => new Btree({ bounds: Array.from({ length: 31 }, (_, i) => [i + 1, 0] as const) }));
  });

  test("opt-PSMR V-B: an insert or delete passes only if its leaf stays, and is this thread's alone", () => {
    const seed = 9;
    const prng = new Prng(seed);
    const service = new Btree({ bounds });
    load(service, 4000, (i) => BigInt((i * 7) % 4000) * (i % 2 === 0 ? 1n : 2n ** 21n));
    const verdicts = { passed: 0, overflow: 0, shared: 0 };
    const shapeOf = (): string => {
      // Boundaries of all nodes: the counts and separators of a snapshot, without entries.
      const snapshot = snapshotOf(service.snapshot());
      const view = new DataView(snapshot.buffer, snapshot.byteOffset, snapshot.byteLength);
      const parts: number[] = [];
      for (let at = 40; at < snapshot.length;) {
        const header = view.getUint32(at, true);
        const count = header & 0xff;
        const columns = header >>> 8 === 0 ? 4 * count : 2 * (count - 1);
        if (header >>> 8 > 0) for (let i = 0; i < columns; i++) parts.push(view.getUint32(at + 4 + 4 * i, true));
        parts.push(header >>> 8);
        at += 4 + 4 * columns;
      }
      return parts.join();
    };
    let shape = shapeOf();
    for (let i = 0; i < 6000; i++) {
      const at = BigInt(prng.below(5000)) * (prng.chance(0.5) ? 1n : 2n ** 21n);
      // Phases in which the tree grows and shrinks, so that leaves are met at both limits.
      const one = prng.chance(i < 3000 ? 0.8 : 0.2) ? insert(at, 1n) : remove(at);
      const run = runOf([one]);
      const mask = new Uint32Array(1);
      service.groups(run, 1, mask);
      const pass = new Uint8Array(1);
      service.safetyCheck(run, Math.log2(mask[0] as number), pass);
      execute(service, [one]);
      if (i % 5 !== 0 && pass[0] === 1) continue;
      const after = shapeOf();
      if (pass[0] === 1) {
        assert.equal(after, shape, `seed ${seed}: a command that passed changed the structure`);
        verdicts.passed++;
      } else if (after === shape) verdicts.shared++;
      else verdicts.overflow++;
      shape = after;
    }
    assert.ok(verdicts.passed > 500 && verdicts.overflow > 30 && verdicts.shared > 5, JSON.stringify(verdicts));
    // Reads and updates pass wherever they belong.
    const pass = new Uint8Array(3);
    service.safetyCheck(runOf([read(1n), update(1n, 1n), range(1n, 2n, 3)]), 0, pass);
    assert.deepEqual([...pass], [1, 1, 1]);
  });

  test("a leaf that spans a bound fails for both sides; one thread alone passes until the leaf is full", () => {
    const service = new Btree({ bounds: [[50, 0]] });
    const pass = new Uint8Array(1);
    execute(service, [insert(1n, 1n)]);
    service.safetyCheck(runOf([insert(2n, 1n)]), 0, pass);
    assert.deepEqual([...pass], [0]);
    const alone = new Btree();
    load(alone, LEAF_CAPACITY, (i) => BigInt(i));
    alone.safetyCheck(runOf([insert(1n, 1n)]), 0, pass);
    assert.deepEqual([...pass], [1], "it is there already");
    alone.safetyCheck(runOf([insert(1000n, 1n)]), 0, pass);
    assert.deepEqual([...pass], [0]);
    alone.safetyCheck(runOf([remove(1n)]), 0, pass);
    assert.deepEqual([...pass], [1], "a root may have as few items as it likes");
  });

  test("a run of none is a run", () => {
    const run = emptyRun();
    const service = btree.create();
    assert.deepEqual(executeRun(service, run), []);
    assert.equal(service.due(), Infinity);
    service.advance(1, null);
  });
});
