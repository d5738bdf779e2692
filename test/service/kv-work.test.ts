/** What one batch, one block of reads and one command of kv may cost at most, whatever clients ask for. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ByteWriter } from "#src/base/index.js";
import {
  BATCH_VISITED_KEYS_MAX,
  createByteStore,
  createKv,
  KvOperation,
  VISITED_KEYS_MAX,
} from "#src/service/index.js";
import { type Command, digestOf, error, execute, integer, OK, type Reply, runOf } from "./kv-command.js";

const KEYS = 1000;
/** More commands than may look at all of the keys in one batch. */
const MANY = BATCH_VISITED_KEYS_MAX / KEYS + 5;
const countAll: Command = { operation: KvOperation.rangeCount, args: ["", ""] };
const TOO_MANY_AT_ONCE = error(
  "ERR too many commands at once look at many keys or move long values; send fewer at a time",
);

function filled() {
  const service = createKv();
  for (let i = 0; i < KEYS; i++) set(service, `key:${i}`, "v");
  return service;
}

function set(service: ReturnType<typeof createKv>, key: string, value: string): void {
  assert.deepEqual(execute(service, [{ operation: KvOperation.set, args: [key, value] }]), [OK]);
}

describe("the work of kv is bounded", () => {
  test("by what all commands of a batch look at, however they are spread over its blocks", () => {
    const service = filled();
    service.advance(1, null);
    const replies = [
      ...execute(service, Array<Command>(MANY - 10).fill(countAll)),
      ...execute(service, Array<Command>(10).fill(countAll)),
    ];
    assert.equal(replies.filter((reply) => JSON.stringify(reply) === JSON.stringify(integer(KEYS))).length, MANY - 5);
    assert.deepEqual(replies.slice(MANY - 5), Array(5).fill(TOO_MANY_AT_ONCE));
    // What looks at the keys that it names alone goes on, and the next batch begins anew.
    assert.deepEqual(execute(service, [{ operation: KvOperation.get, args: ["key:1"] }]), ["v"]);
    service.advance(2, null);
    assert.deepEqual(execute(service, [countAll]), [integer(KEYS)]);
  });

  test("by what a block of reads looks at: the rest is asked for again, and nothing of it counts for the batches", () => {
    const service = filled();
    service.advance(1, null);
    execute(service, Array<Command>(MANY - 6).fill(countAll));
    const commands = Array<Command>(VISITED_KEYS_MAX / KEYS + 7).fill(countAll);
    const run = runOf(commands, true);
    run.answered = run.count;
    service.execute(run, new ByteWriter(), null);
    assert.equal(run.answered, VISITED_KEYS_MAX / KEYS);
    assert.ok(run.work >= VISITED_KEYS_MAX / 16, `${run.work} units of work for ${VISITED_KEYS_MAX} keys`);
    assert.deepEqual(execute(service, [countAll, countAll]), [integer(KEYS), TOO_MANY_AT_ONCE]);
  });

  test("by the product of pattern and key, which no number of keys bounds", () => {
    const service = createKv();
    set(service, "a".repeat(60_000), "v");
    const pattern = `*${"a".repeat(30_000)}b`;
    const replies = execute(service, [
      { operation: KvOperation.keys, args: [pattern] },
      { operation: KvOperation.scan, flags: 1, args: ["0", "10", pattern] },
      { operation: KvOperation.keys, args: ["a*a"] },
    ]);
    for (const reply of replies.slice(0, 2)) assert.match(JSON.stringify(reply), /look at more than 200000 keys/);
    assert.deepEqual(replies[2], ["a".repeat(60_000)]);
  });

  test("by the long values that short commands move or make", () => {
    const service = createKv();
    const long = "v".repeat(1024 * 1024);
    set(service, "a", long);
    service.advance(1, null);
    const renames = Array.from({ length: 300 }, (_, i): Command => ({
      operation: KvOperation.rename,
      args: i % 2 === 0 ? ["a", "b"] : ["b", "a"],
    }));
    const replies = execute(service, renames);
    const done = Math.floor(BATCH_VISITED_KEYS_MAX / 4096);
    assert.deepEqual(replies.slice(0, done), Array(done).fill(OK));
    // From then on each fails, those that have no such key by their own error.
    assert.deepEqual(replies[done], TOO_MANY_AT_ONCE);
    const before = digestOf(service);
    const grown = { operation: KvOperation.setRange, args: ["c", "1000000", "x"] };
    assert.deepEqual(execute(service, [grown]), [TOO_MANY_AT_ONCE]);
    assert.equal(digestOf(service), before);
    service.advance(2, null);
    assert.deepEqual(execute(service, [grown]), [integer(1_000_001)]);
  });

  test("by counting a transaction as one command, of which no part fails for what others have done", () => {
    const service = filled();
    set(service, "a", "1");
    const packed = (command: Command): string => {
      const { bytes, offsets } = runOf([command]);
      return String.fromCharCode(...bytes.subarray(offsets[0]));
    };
    const transaction = (...commands: Command[]): Command => ({
      operation: KvOperation.transaction,
      args: ["", ...commands.map(packed)],
    });
    const rename: Command = { operation: KvOperation.rename, args: ["a", "b"] };
    const append: Command = { operation: KvOperation.append, args: ["log", "x"] };
    service.advance(1, null);
    execute(service, Array<Command>(MANY).fill(countAll));
    // Refused as a whole; one that only does what is never refused goes on.
    assert.deepEqual(execute(service, [transaction(append, rename), transaction(append)]), [
      TOO_MANY_AT_ONCE,
      [integer(1)],
    ]);
    service.advance(2, null);
    assert.deepEqual(execute(service, [transaction(append, rename)]), [[integer(2), OK]]);
    const counts = Array<Command>(VISITED_KEYS_MAX / KEYS + 3).fill(countAll);
    const [replies] = execute(service, [transaction(...counts)]) as Reply[][];
    // Two keys more than `KEYS` by now.
    const done = Math.floor(VISITED_KEYS_MAX / (KEYS + 2));
    assert.deepEqual(replies?.[done - 1], integer(KEYS + 2));
    for (const reply of replies?.slice(done) ?? [])
      assert.match(JSON.stringify(reply), /look at more than 200000 keys/);
  });

  test("RANDOMKEY answers nil only when no key is alive, wherever the expired ones lie", () => {
    const service = createKv();
    set(service, "0", "alive");
    const dying = Array.from({ length: 600 }, (_, i): Command => ({
      operation: KvOperation.set,
      flags: 32 | 128,
      args: [`key:${i}`, "v", "5"],
    }));
    service.advance(1, null);
    execute(service, dying);
    for (let seed = 0; seed < 200; seed++) {
      const run = runOf([{ operation: KvOperation.randomKey, args: [] }]);
      run.time = 10;
      run.seed = seed;
      const replies = new ByteWriter();
      service.execute(run, replies, null);
      assert.equal(String.fromCharCode(replies.bytes[replies.length - 1] as number), "0", `seed ${seed}`);
    }
  });

  test("a small store that is cleared over and over sets no memory aside each time", () => {
    const store = createByteStore();
    const key = new Uint8Array([1]);
    store.add(key, 0, 1, key, 0, 1, 0, null);
    const { contents } = store;
    store.clear(null);
    assert.equal(store.contents, contents);
    assert.equal(store.count, 0);
    store.check();
    const fresh = digestOf({ digest: (into) => createByteStore().readDigest(into) });
    assert.equal(digestOf({ digest: (into) => store.readDigest(into) }), fresh);
  });
});
