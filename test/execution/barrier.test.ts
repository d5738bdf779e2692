import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { Barrier, BARRIER_THREADS_MAX } from "#src/execution/index.js";

const make = (threads: number): Barrier[] => {
  const memory = new SharedArrayBuffer(Barrier.bytesFor(threads));
  return Array.from({ length: threads }, () => new Barrier(memory, threads));
};

describe("barrier", () => {
  test("has all threads of a set when each of them has arrived, whoever looks", () => {
    const [first, second, third] = make(3) as [Barrier, Barrier, Barrier];
    assert.ok(first.allArrived(1, 0), "nobody is missing of nobody");
    first.arrive(0, 1);
    assert.ok(!second.allArrived(1, 0b011));
    second.arrive(1, 1);
    assert.ok(third.allArrived(1, 0b011));
    assert.ok(!third.allArrived(1, 0b111));
    assert.ok(!third.allArrived(2, 0b001));
    third.arrive(2, 5);
    assert.ok(first.allArrived(1, 0b111), "who is further has been here");
  });

  test("keeps the releases of executors apart, which may come out of order", () => {
    const [first, , third] = make(4) as [Barrier, Barrier, Barrier, Barrier];
    third.release(2, 8);
    assert.ok(first.released(2, 8));
    assert.ok(first.released(2, 7));
    assert.ok(!first.released(0, 7), "another executor's");
    assert.ok(!first.released(2, 9));
    assert.equal(first.words[first.releaseWord(2)], 8);
    assert.equal(first.words[first.arrivalWord(2)], 0);
  });

  test("numbers pass 2^31 and 2^32", () => {
    for (const start of [2 ** 31 - 20, 2 ** 32 - 20, 5 * 2 ** 32 - 20]) {
      const seed = start % 1009;
      const prng = new Prng(seed);
      const barriers = make(3);
      const arrived = [start, start, start];
      for (const [thread, barrier] of barriers.entries()) barrier.arrive(thread, start);
      for (let step = 0; step < 100; step++) {
        const thread = prng.below(3);
        arrived[thread] = (arrived[thread] as number) + 1;
        (barriers[thread] as Barrier).arrive(thread, arrived[thread]);
        for (let number = start - 30; number < start + 60; number++) {
          const mask = 1 + prng.below(7);
          const expected = arrived.every((reached, i) => (mask & (1 << i)) === 0 || reached >= number);
          assert.equal((barriers[0] as Barrier).allArrived(number, mask), expected, `seed ${seed}`);
        }
      }
    }
  });

  test("an executor that has released nothing for 2^31 barriers is not taken for one that is ahead", () => {
    const [follower, executor] = make(2) as [Barrier, Barrier];
    for (let number = 2 ** 29; number < 2 ** 33; number += 2 ** 29) {
      executor.arrive(1, number);
      assert.ok(!follower.released(1, number), `${number}`);
      assert.ok(!follower.released(1, number + 5), `${number}`);
    }
    executor.release(1, 2 ** 33);
    assert.ok(follower.released(1, 2 ** 33));
  });

  test("takes up to 31 threads, and memory for all of them", () => {
    assert.throws(() => make(BARRIER_THREADS_MAX + 1), /1 to 31 threads/);
    assert.throws(() => new Barrier(new SharedArrayBuffer(128), 0), /1 to 31 threads/);
    assert.throws(() => new Barrier(new SharedArrayBuffer(Barrier.bytesFor(2)), 3), /too short/);
    assert.ok(make(31)[30]?.allArrived(0, 0x7fffffff));
  });
});
