/** How a load chooses keys and due times, against the laws it claims. Seeds are fixed, so nothing here fails by chance. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Prng } from "#src/base/index.js";
import {
  ArrivalSchedule,
  createKeyChooser,
  InsertedKeys,
  insertedKey,
  scatter,
  zeta,
  ZipfianRanks,
} from "#src/runtime/index.js";

const EXPONENT = 0.99;
const SAMPLES = 400_000;

function summedZeta(count: number): number {
  let sum = 0;
  for (let i = count; i >= 1; i--) sum += i ** -EXPONENT;
  return sum;
}

/** Pearson's statistic of counts against expected counts. */
function chiSquare(counts: Float64Array, expected: (index: number) => number): number {
  let sum = 0;
  counts.forEach((count, index) => (sum += (count - expected(index)) ** 2 / expected(index)));
  return sum;
}

describe("the Zipfian law", () => {
  test("zeta is the sum it stands for", () => {
    for (const count of [1, 2, 1000, 1024, 1025, 5000, 300_000]) {
      assert.ok(Math.abs(zeta(count) / summedZeta(count) - 1) < 1e-12, `${count}`);
    }
    // The constant that YCSB's own source states for ten billion.
    assert.ok(Math.abs(zeta(1e10) - 26.46902820178302) < 1e-9, `${zeta(1e10)}`);
  });

  for (const count of [1, 2, 3, 10, 1000, 1_000_000, 1e10]) {
    test(`${count} ranks are as popular as they must be`, () => {
      const ranks = new ZipfianRanks(new Prng(11), count);
      const head = Math.min(count, 100);
      const counts = new Float64Array(head);
      let beyond = 0;
      for (let i = 0; i < SAMPLES; i++) {
        const rank = ranks.next();
        assert.ok(Number.isInteger(rank) && rank >= 0 && rank < count);
        if (rank < head) counts[rank]!++;
        else beyond++;
      }
      const share = (rank: number): number => (rank + 1) ** -EXPONENT / zeta(count);
      for (let rank = 0; rank < head; rank++) {
        const expected = SAMPLES * share(rank);
        // Ranks 0 and 1 exactly; the method is known to be off by up to a fifth just above them. Five standard deviations.
        const tolerance = (rank < 2 ? 0 : 0.2 * expected) + 5 * Math.sqrt(expected);
        assert.ok(Math.abs(counts[rank]! - expected) < tolerance, `rank ${rank}: ${counts[rank]} for ${expected}`);
      }
      const tail = SAMPLES * (1 - summedZeta(head) / zeta(count));
      assert.ok(Math.abs(beyond - tail) < 0.02 * SAMPLES, `${beyond} beyond the first ${head}, for ${tail}`);
    });
  }

  test("scrambled, the popular keys are those which their ranks fall on", () => {
    const keys = 100_000;
    const chooser = createKeyChooser("zipfian", new Prng(5), keys, new InsertedKeys(1));
    const counts = new Float64Array(keys);
    for (let i = 0; i < SAMPLES; i++) counts[chooser.next()]!++;
    // What falls on a key by its popular rank, and an even part of the ranks far out.
    const share = (1 - summedZeta(1000) / zeta(1e10)) / keys;
    for (let rank = 0; rank < 2; rank++) {
      const expected = SAMPLES * ((rank + 1) ** -EXPONENT / zeta(1e10) + share);
      const found = counts[scatter(rank, keys)]!;
      assert.ok(Math.abs(found - expected) < 6 * Math.sqrt(expected), `rank ${rank}: ${found} for ${expected}`);
    }
    const hottest = counts.indexOf(Math.max(...counts.slice(0, 50_000), ...counts.slice(50_000)));
    assert.equal(hottest, scatter(0, keys));
    const untouched = counts.filter((count) => count === 0).length;
    assert.ok(untouched < keys * 0.2, `${untouched} of ${keys} keys were never asked for`);
  });

  test("scatters over all keys alike", () => {
    const counts = new Float64Array(100);
    for (let rank = 0; rank < 100_000; rank++) counts[scatter(rank * 100_000, 100)]!++;
    // 99 degrees of freedom: below 149 but for one seed in a thousand.
    assert.ok(chiSquare(counts, () => 1000) < 149);
  });
});

test("uniform keys are all alike", () => {
  const chooser = createKeyChooser("uniform", new Prng(3), 100, new InsertedKeys(1));
  const counts = new Float64Array(100);
  for (let i = 0; i < 100_000; i++) counts[chooser.next()]!++;
  assert.ok(chiSquare(counts, () => 1000) < 149);
});

describe("the latest keys", () => {
  test("are the loaded ones from the end while nothing is inserted", () => {
    const chooser = createKeyChooser("latest", new Prng(9), 1000, new InsertedKeys(3));
    const counts = new Float64Array(1000);
    for (let i = 0; i < SAMPLES; i++) counts[chooser.next()]!++;
    const newest = SAMPLES / zeta(1000);
    assert.ok(Math.abs(counts[999]! - newest) < 5 * Math.sqrt(newest), `${counts[999]} for ${newest}`);
    assert.ok(counts[999]! > counts[998]! && counts[998]! > counts[900]!);
  });

  test("then the inserted ones, and only acknowledged ones", () => {
    const inserted = new InsertedKeys(2);
    const chooser = createKeyChooser("latest", new Prng(9), 10, inserted);
    inserted.acknowledge(0, 3);
    inserted.acknowledge(1, 2);
    inserted.acknowledge(1, 1);
    assert.equal(inserted.total, 5);
    const seen = new Set<number>();
    for (let i = 0; i < 20_000; i++) seen.add(chooser.next());
    const all = [0, 1, 2].map((count) => insertedKey(0, count)).concat([0, 1].map((count) => insertedKey(1, count)));
    assert.deepEqual(
      [...seen].sort((a, b) => a - b),
      [...Array(10).keys(), ...all],
    );
    assert.equal(inserted.at(0), insertedKey(0, 2));
    assert.equal(inserted.at(1), insertedKey(1, 1));
  });

  test("every age is an acknowledged key, however far one client is ahead", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 6 }), (counts) => {
        const inserted = new InsertedKeys(counts.length);
        counts.forEach((count, client) => inserted.acknowledge(client, count));
        const keys = new Set(
          counts.flatMap((count, client) => [...Array(count).keys()].map((i) => insertedKey(client, i))),
        );
        for (let age = 0; age < inserted.total; age++) assert.ok(keys.has(inserted.at(age)), `${age}`);
      }),
    );
  });
});

describe("arrivals", () => {
  const schedules = (arrivals: "constant" | "poisson", rate: number, clients: number): ArrivalSchedule[] =>
    Array.from({ length: clients }, (_, i) => new ArrivalSchedule(new Prng(i + 1), arrivals, rate, 500, i, clients));
  const dues = (all: ArrivalSchedule[], untilMs: number): number[] => {
    const times: number[] = [];
    for (const schedule of all) while (schedule.dueMs < untilMs) times.push(schedule.take());
    return times.sort((a, b) => a - b);
  };

  test("constant ones of several clients make one even stream", () => {
    const times = dues(schedules("constant", 400, 3), 2500);
    assert.equal(times.length, 800);
    times.forEach((time, i) => assert.ok(Math.abs(time - (500 + i * 2.5)) < 1e-6, `${i}: ${time}`));
  });

  test("Poisson ones have the mean and the spread of a Poisson process", () => {
    const times = dues(schedules("poisson", 1000, 4), 100_500);
    const gaps = times.slice(1).map((time, i) => time - (times[i] as number));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
    assert.ok(Math.abs(mean - 1) < 0.02, `${mean}`);
    assert.ok(Math.abs(variance - 1) < 0.05, `${variance}`);
    const short = gaps.filter((gap) => gap < Math.LN2).length / gaps.length;
    assert.ok(Math.abs(short - 0.5) < 0.01, `${short}`);
  });
});
