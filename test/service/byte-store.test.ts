/** The byte store against a plain map: every method, undo to any mark, snapshots while it changes, damaged snapshots, limits. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, latin1, Prng } from "#src/base/index.js";
import { CheckpointDamagedError, type Digest, type SnapshotSource, UndoLog } from "#src/model/index.js";
import {
  type ByteStore,
  createByteStore,
  ENTRY_KEY_BYTES_MAX,
  ENTRY_VALUE_BYTES_MAX,
  READ_AHEAD_MAX,
} from "#src/service/index.js";

interface ModelEntry {
  readonly value: string;
  readonly expiry: number;
}
type Model = Map<string, ModelEntry>;

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

function find(store: ByteStore, key: string): number {
  const bytes = bytesOf(key);
  return store.find(bytes, 0, bytes.length);
}

function set(store: ByteStore, key: string, value: string, expiry: number, undo: UndoLog | null): void {
  // What is stored lies between other bytes, so that a wrong offset shows.
  const keyBytes = bytesOf(`<${key}>`);
  const valueBytes = bytesOf(`<${value}>`);
  const entry = find(store, key);
  const number =
    entry === 0
      ? store.add(keyBytes, 1, keyBytes.length - 1, valueBytes, 1, valueBytes.length - 1, expiry, undo)
      : store.replace(entry, valueBytes, 1, valueBytes.length - 1, expiry, undo);
  assert.ok(number > 0);
}

function keyOf(store: ByteStore, entry: number): string {
  store.locateKey(entry);
  return latin1(store.bytes, store.start, store.end);
}

function valueOf(store: ByteStore, entry: number): string {
  store.locateValue(entry);
  assert.equal(store.valueLength(entry), store.end - store.start);
  return latin1(store.bytes, store.start, store.end);
}

function digestOf(store: ByteStore): string {
  const digest: Digest = new Uint32Array(4);
  store.readDigest(digest);
  return [...digest].join();
}

const sortedKeys = (model: Model): string[] => [...model.keys()].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

/** Everything that a reader of the store can see, against the model. */
function compare(store: ByteStore, model: Model): void {
  store.check();
  const keys = sortedKeys(model);
  let size = 0;
  let expiring = 0;
  for (const [key, { value, expiry }] of model) {
    const entry = find(store, key);
    assert.ok(entry > 0, `key ${JSON.stringify(key)} is missing`);
    assert.equal(keyOf(store, entry), key);
    assert.equal(valueOf(store, entry), value);
    assert.equal(store.expiry(entry), expiry);
    size += key.length + value.length;
    if (expiry !== 0) expiring++;
  }
  assert.deepEqual(
    { count: store.count, size: store.size, expiring: store.expiring },
    { count: model.size, size, expiring },
  );
  const forwards: string[] = [];
  for (let entry = store.smallest(); entry !== 0; entry = store.next(entry)) forwards.push(keyOf(store, entry));
  assert.deepEqual(forwards, keys);
  const backwards: string[] = [];
  for (let entry = store.largest(); entry !== 0; entry = store.previous(entry)) backwards.push(keyOf(store, entry));
  assert.deepEqual(backwards, keys.reverse());
  const [soonest] = [...model]
    .filter(([, { expiry }]) => expiry !== 0)
    .sort(([a, x], [b, y]) => x.expiry - y.expiry || (a < b ? -1 : 1));
  const first = store.firstToExpire();
  assert.equal(first === 0 ? undefined : keyOf(store, first), soonest?.[0]);
  assert.deepEqual(scanAll(store, 3).sort(), forwards.sort());
}

function scanAll(store: ByteStore, wanted: number): string[] {
  const keys: string[] = [];
  let cursor = 0;
  do {
    const into: number[] = [];
    cursor = store.scan(cursor, wanted, into);
    for (const entry of into) keys.push(keyOf(store, entry));
  } while (cursor !== 0);
  return keys;
}

function drain(source: SnapshotSource, target: number, writer = new ByteWriter()): Uint8Array {
  while (source.next(writer, target));
  return writer.toBytes();
}

function restored(bytes: Uint8Array, cut = bytes.length): ByteStore {
  const store = createByteStore();
  const sink = store.restore();
  for (let at = 0; at < bytes.length; at += cut) sink.write(bytes, at, Math.min(bytes.length, at + cut));
  sink.finish();
  return store;
}

const key = fc.oneof(
  fc.nat(60).map((n) => `key:${String(n).padStart(12, "0")}`),
  fc.nat(12).map((n) => "\u0000".repeat(n)),
  fc.array(fc.constantFrom("\u0000", "a", "b", "\u00ff"), { maxLength: 4 }).map((parts) => parts.join("")),
  fc.nat(3).map((n) => `${"long".repeat(20)}${n}`),
);
const filled = (length: number, seed: number): string =>
  String.fromCharCode(...Array.from({ length }, (_, i) => (seed + i * 7) & 255));
const value = fc
  .tuple(fc.oneof(fc.nat(70), fc.nat(70), fc.constantFrom(44, 45, 128, 300, 4_000)), fc.nat(255))
  .map(([length, seed]) => filled(length, seed));
const expiry = fc.oneof(fc.constant(0), fc.nat(20), fc.constantFrom(1_700_000_000_000, Number.MAX_SAFE_INTEGER));

type Step =
  | { kind: "set"; key: string; value: string; expiry: number }
  | { kind: "write"; key: string; offset: number; value: string }
  | { kind: "expire"; key: string; expiry: number }
  | { kind: "remove" | "first" | "last" | "double"; key: string }
  | { kind: "rename"; key: string; to: string }
  | { kind: "clear" | "mark" | "rollback" | "confirm" | "snapshot" | "finish" }
  | { kind: "slice"; target: number }
  | { kind: "pick"; random: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant("set" as const), key, value, expiry }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      key,
      offset: fc.oneof(fc.nat(8), fc.nat(100)),
      value,
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("expire" as const), key, expiry }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("remove" as const), key }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("first" as const, "last", "double"), key }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("rename" as const), key, to: key }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("mark" as const, "rollback", "snapshot", "finish") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("clear" as const, "confirm") }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("slice" as const), target: fc.nat(400) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("pick" as const), random: fc.integer() }) },
);

/** A store with a map beside it, and what is to come out of the marks and snapshots made on the way. */
class Pair {
  store = createByteStore();
  model: Model = new Map();
  readonly undo = new UndoLog();
  readonly marks: { mark: number; model: Model; digest: string }[] = [];
  readonly snapshots: { source: SnapshotSource; model: Model; digest: string; writer: ByteWriter }[] = [];

  run(step: Step): void {
    const { store, model, undo } = this;
    switch (step.kind) {
      case "set":
        set(store, step.key, step.value, step.expiry, undo);
        model.set(step.key, { value: step.value, expiry: step.expiry });
        return;
      case "write": {
        const entry = find(store, step.key);
        if (entry === 0) return;
        const before = model.get(step.key) as ModelEntry;
        const bytes = bytesOf(step.value);
        store.write(entry, step.offset, bytes, 0, bytes.length, undo);
        const whole = before.value.padEnd(step.offset, "\u0000");
        const after = whole.slice(0, step.offset) + step.value + whole.slice(step.offset + step.value.length);
        model.set(step.key, { ...before, value: after });
        return;
      }
      case "expire": {
        const entry = find(store, step.key);
        if (entry === 0) return;
        store.setExpiry(entry, step.expiry, undo);
        model.set(step.key, { ...(model.get(step.key) as ModelEntry), expiry: step.expiry });
        return;
      }
      case "remove": {
        const entry = find(store, step.key);
        assert.equal(entry !== 0, model.delete(step.key));
        if (entry !== 0) store.remove(entry, undo);
        return;
      }
      case "rename": {
        // The value comes out of the store itself.
        const entry = find(store, step.key);
        if (entry === 0) return;
        const moved = model.get(step.key) as ModelEntry;
        const target = find(store, step.to);
        const to = bytesOf(step.to);
        store.locateValue(entry);
        const { bytes, start, end } = store;
        if (target === 0) store.add(to, 0, to.length, bytes, start, end, moved.expiry, undo);
        else store.replace(target, bytes, start, end, moved.expiry, undo);
        model.set(step.to, moved);
        return;
      }
      case "double": {
        // Half of the value, from its middle, written behind its end, and then made the whole of it.
        const entry = find(store, step.key);
        if (entry === 0) return;
        const before = model.get(step.key) as ModelEntry;
        const half = before.value.length >> 1;
        store.locateValue(entry);
        const written = store.write(entry, before.value.length, store.bytes, store.start + half, store.end, undo);
        store.locateValue(written);
        store.replace(written, store.bytes, store.start + half, store.end, before.expiry, undo);
        const doubled = before.value.slice(half);
        model.set(step.key, { ...before, value: doubled + doubled });
        return;
      }
      case "first":
      case "last": {
        const keys = sortedKeys(model);
        const bytes = bytesOf(step.key);
        for (const strictly of [false, true]) {
          const entry: number = store[step.kind](bytes, 0, bytes.length, strictly);
          const found = entry === 0 ? undefined : keyOf(store, entry);
          const wanted: string | undefined =
            step.kind === "first"
              ? keys.find((other) => (strictly ? other > step.key : other >= step.key))
              : keys.findLast((other) => (strictly ? other < step.key : other <= step.key));
          assert.equal(found, wanted);
        }
        return;
      }
      case "clear":
        store.clear(undo);
        this.model = new Map();
        return;
      case "mark":
        this.marks.push({ mark: undo.mark(), model: new Map(model), digest: digestOf(store) });
        return;
      case "rollback": {
        const last = this.marks.pop();
        if (last === undefined) return;
        store.rollback(undo, last.mark);
        this.model = last.model;
        assert.equal(digestOf(store), last.digest);
        return;
      }
      case "confirm":
        undo.confirm();
        this.marks.length = 0;
        return;
      case "snapshot":
        if (this.snapshots.length === 3) return;
        this.snapshots.push({
          source: store.snapshot(),
          model: new Map(model),
          digest: digestOf(store),
          writer: new ByteWriter(),
        });
        return;
      case "slice":
        for (const { source, writer } of this.snapshots) source.next(writer, step.target);
        return;
      case "finish": {
        const snapshot = this.snapshots.shift();
        if (snapshot === undefined) return;
        const copy = restored(drain(snapshot.source, 100, snapshot.writer), 37);
        compare(copy, snapshot.model);
        assert.equal(digestOf(copy), snapshot.digest);
        // Its walks are those of the store it was taken from, however both came to hold what they hold.
        if (digestOf(store) === snapshot.digest) assert.deepEqual(scanAll(copy, 2), scanAll(store, 2));
        return;
      }
      case "pick": {
        const entry = store.pick(step.random);
        assert.equal(entry !== 0, model.size > 0);
        if (entry === 0) return;
        const other = createByteStore();
        for (const [k, v] of [...model].reverse()) set(other, k, v.value, v.expiry, null);
        assert.equal(keyOf(other, other.pick(step.random)), keyOf(store, entry));
        assert.equal(digestOf(other), digestOf(store));
        return;
      }
    }
  }
}

describe("the byte store does what a map does", () => {
  test("whatever is done to it, undone, and snapshotted", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150, size: "max" }), (steps) => {
        const pair = new Pair();
        for (const each of steps) pair.run(each);
        compare(pair.store, pair.model);
        while (pair.snapshots.length > 0) pair.run({ kind: "finish" });
        while (pair.marks.length > 0) pair.run({ kind: "rollback" });
        compare(pair.store, pair.model);
      }),
      { numRuns: 150 },
    );
  });
});

const MiB = 1024 * 1024;
const numbered = (n: number): string => `user:${String(n).padStart(9, "0")}`;

test("an entry that comes to the number of one found and removed is digested by its own key", () => {
  const store = createByteStore();
  set(store, "first", "1", 0, null);
  store.remove(find(store, "first"), null);
  const key = bytesOf("second");
  store.add(key, 0, key.length, key, 0, 3, 9, null);
  // Reached by its expiry, not by its key.
  store.setExpiry(store.firstToExpire(), 8, null);
  store.check();
  store.remove(store.firstToExpire(), null);
  assert.equal(digestOf(store), digestOf(createByteStore()));
});

describe("the byte store at size", () => {
  test("grows and shrinks evenly; a walk meets every key that stays, whatever comes and goes", () => {
    const seed = 11;
    const prng = new Prng(seed);
    const store = createByteStore();
    const stays = (n: number): boolean => n % 10 === 0;
    const count = 30_000;
    const add = (n: number): void => set(store, numbered(n), "v".repeat(n % 60), 0, null);
    for (let n = 0; n < count; n++) if (stays(n)) add(n);
    const met = new Set<string>();
    const present = new Set<number>();
    let cursor = 0;
    let steps = 0;
    do {
      const into: number[] = [];
      cursor = store.scan(cursor, 16, into);
      for (const entry of into) met.add(keyOf(store, entry));
      steps++;
      // First more and more keys beside those that stay, then fewer and fewer.
      for (let i = 0; i < 200; i++) {
        const n = prng.below(count);
        if (stays(n)) continue;
        if (steps < 100 && !present.has(n)) {
          add(n);
          present.add(n);
        } else if (steps >= 100 && present.delete(n)) store.remove(find(store, numbered(n)), null);
      }
    } while (cursor !== 0);
    for (let n = 0; n < count; n += 10) assert.ok(met.has(numbered(n)), `seed ${seed}: the walk missed ${numbered(n)}`);
    assert.ok(steps > 200, `the walk took ${steps} steps`);
    store.check();
    for (let entry = store.smallest(); entry !== 0; entry = store.smallest()) store.remove(entry, null);
    store.check();
    assert.deepEqual([store.count, store.size, store.scan(0, 10, []), store.pick(7)], [0, 0, 0, 0]);
    assert.equal(digestOf(store), digestOf(createByteStore()));
  });

  test("a walk ends at cursors that no walk hands out", () => {
    const store = createByteStore();
    set(store, "a", "1", 0, null);
    for (const cursor of [-1, 2 ** 32, 2 ** 53, NaN, Infinity]) {
      const into: number[] = [];
      assert.deepEqual([store.scan(cursor, 10, into), into], [0, []]);
    }
  });

  test("holds the longest keys and values, writes into them in place, and gives memory back", () => {
    const store = createByteStore();
    const key = "k".repeat(ENTRY_KEY_BYTES_MAX);
    const chunk = bytesOf("0123456789".repeat(7));
    let entry = store.add(bytesOf(key), 0, key.length, chunk, 0, 0, 0, null);
    let expected = "";
    const undo = new UndoLog();
    while (expected.length + chunk.length <= ENTRY_VALUE_BYTES_MAX) {
      entry = store.write(entry, expected.length, chunk, 0, chunk.length, null);
      expected += latin1(chunk, 0, chunk.length);
    }
    const digest = digestOf(store);
    entry = store.write(entry, ENTRY_VALUE_BYTES_MAX - 3, chunk, 0, 3, undo);
    assert.equal(store.valueLength(entry), ENTRY_VALUE_BYTES_MAX);
    store.check();
    store.rollback(undo, 0);
    assert.equal(valueOf(store, find(store, key)), expected);
    assert.equal(digestOf(store), digest);
    // Many long values of all lengths, half of them removed, the others replaced by shorter ones.
    const value = new Uint8Array(ENTRY_VALUE_BYTES_MAX).fill(7);
    for (let n = 0; n < 120; n++) {
      const name = bytesOf(numbered(n));
      store.add(name, 0, name.length, value, 0, (n * 7919 * 131) % ENTRY_VALUE_BYTES_MAX, 0, null);
    }
    store.check();
    const most = store.reserved;
    assert.ok(most < 1.4 * store.size + 16 * MiB, `${most} bytes are set aside for ${store.size}`);
    for (let n = 0; n < 120; n++) {
      const found = find(store, numbered(n));
      if (n % 2 === 0) store.remove(found, null);
      else store.replace(found, value, 0, 100, 0, null);
    }
    store.check();
    assert.ok(store.reserved < most / 2, `${store.reserved} of ${most} bytes are still set aside`);
    store.clear(null);
    assert.ok(store.reserved < MiB);
  });

  test("a snapshot of many keys, taken while all of them change", () => {
    const store = createByteStore();
    const count = 20_000;
    for (let n = 0; n < count; n++) set(store, numbered(n), "v".repeat(n % 100), n % 3 === 0 ? n + 1 : 0, null);
    const digest = digestOf(store);
    const source = store.snapshot();
    const abandoned = store.snapshot();
    const writer = new ByteWriter();
    const target = 64 * 1024;
    let changed = 0;
    for (let more = true; more;) {
      const before = writer.length;
      more = source.next(writer, target);
      assert.ok(writer.length - before < target + 200, "a slice is longer than its target and one entry");
      abandoned.next(new ByteWriter(), 1000);
      const end = changed + 2000;
      for (; changed < end; changed++) {
        // From both ends, so that the walk meets changes before and behind it.
        const n = changed % 2 === 0 ? changed % count : count - (changed % count);
        const entry = find(store, numbered(n));
        if (entry === 0) set(store, numbered(n), "again", 5, null);
        else if (n % 4 === 0) store.remove(entry, null);
        else if (n % 4 === 1) store.write(entry, 3, bytesOf("written"), 0, 7, null);
        else if (n % 4 === 2) store.setExpiry(entry, n + 7, null);
        else set(store, numbered(n), "replaced", 0, null);
      }
    }
    abandoned.close();
    abandoned.close();
    assert.ok(changed > count, "too little changed while it was taken");
    store.check();
    const copy = restored(writer.toBytes(), 4_099);
    assert.equal(digestOf(copy), digest);
    copy.check();
    assert.equal(copy.count, count);
    for (let n = 0; n < count; n += 97) {
      const entry = find(copy, numbered(n));
      assert.deepEqual([valueOf(copy, entry).length, copy.expiry(entry)], [n % 100, n % 3 === 0 ? n + 1 : 0]);
    }
  });

  test("reading ahead changes nothing", () => {
    const store = createByteStore();
    const count = 60_000;
    for (let n = 0; n < count; n++) set(store, numbered(n), "1", 0, null);
    const digest = digestOf(store);
    const spans = new Uint32Array(2 * READ_AHEAD_MAX);
    const text = Array.from({ length: READ_AHEAD_MAX }, (_, i) => numbered(i * 5_000)).join("");
    for (let i = 0; i < READ_AHEAD_MAX; i++) spans.set([i * 14, (i + 1) * 14], 2 * i);
    const keys = bytesOf(text);
    store.readAhead(keys, spans, READ_AHEAD_MAX);
    store.readAhead(keys, spans, 0);
    for (let i = 0; i < READ_AHEAD_MAX; i++) {
      const entry = store.find(keys, i * 14, (i + 1) * 14);
      assert.equal(entry !== 0, i * 5_000 < count);
    }
    assert.equal(digestOf(store), digest);
  });
});

describe("a snapshot of the byte store", () => {
  const store = createByteStore();
  set(store, "a", "1", 0, null);
  set(store, "bb", "x".repeat(100), 1_700_000_000_000, null);
  set(store, "", "", 5, null);
  const good = drain(store.snapshot(), 50);

  test("is refused when anything in it is damaged, or cut off, or too much", () => {
    const other = createByteStore();
    set(other, "kept", "as it was", 0, null);
    const refused = (bytes: Uint8Array, what: string): void => {
      assert.throws(
        () => {
          const sink = other.restore();
          for (let at = 0; at < bytes.length; at += 5) sink.write(bytes, at, Math.min(bytes.length, at + 5));
          sink.finish();
        },
        CheckpointDamagedError,
        what,
      );
      assert.equal(valueOf(other, find(other, "kept")), "as it was", what);
    };
    for (let length = 0; length < good.length; length++) refused(good.slice(0, length), `cut at ${length}`);
    for (let at = 0; at < good.length; at++) {
      const bit = at & 7;
      const bad = good.slice();
      bad[at] = (bad[at] as number) ^ (1 << bit);
      refused(bad, `bit ${bit} of byte ${at}`);
    }
    const signed = good.slice();
    new DataView(signed.buffer).setFloat64(40, -0, true);
    refused(signed, "an expiry of minus 0");
    refused(Uint8Array.from([...good, 0]), "one byte more");
    refused(Uint8Array.from([...good, ...good.slice(32)]), "every entry twice");
  });

  test("is refused by a store that may not hold so much", () => {
    for (const limits of [
      { entriesMax: 2, bytesMax: 1000 },
      { entriesMax: 3, bytesMax: 102 },
    ]) {
      const small = createByteStore(limits);
      const sink = small.restore();
      assert.throws(() => sink.write(good, 0, good.length), CheckpointDamagedError);
    }
    const fitting = createByteStore({ entriesMax: 3, bytesMax: store.size });
    const sink = fitting.restore();
    sink.write(good, 0, good.length);
    sink.finish();
    assert.deepEqual([fitting.hasRoom(0, 0), fitting.hasRoom(1, -1), fitting.hasRoom(-1, 1)], [true, false, false]);
  });
});
