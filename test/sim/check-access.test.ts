/** The checker of shared memory: what barriers keep apart passes, and everything else is an overlap. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { AccessChecker, describeOverlap } from "#src/sim/index.js";

describe("accesses that barriers order", () => {
  test("threads with nodes of their own, and all reading one", () => {
    const checker = new AccessChecker(3);
    for (const thread of [0, 1, 2]) {
      checker.access(thread, thread, true);
      checker.access(thread, thread, false);
      checker.access(thread, 99, false);
    }
    assert.deepEqual(checker.overlaps(), []);
    assert.equal(checker.accesses, 9);
  });

  test("one executes for all between two barriers, as a command over several groups does", () => {
    const checker = new AccessChecker(3);
    for (const thread of [0, 1, 2]) checker.access(thread, 7, false);
    checker.meet([0, 1, 2], 1);
    checker.access(1, 7, true);
    checker.meet([0, 1, 2], 2);
    for (const thread of [2, 0, 1]) checker.access(thread, 7, false);
    assert.deepEqual(checker.overlaps(), []);
    assert.equal(checker.epoch(1), 3);
  });

  test("order goes on over a thread that met both", () => {
    const checker = new AccessChecker(3);
    checker.access(0, 7, true);
    checker.meet([0, 1], 1);
    checker.meet([1, 2], 2);
    checker.access(2, 7, true);
    assert.deepEqual(checker.overlaps(), []);
  });
});

describe("overlaps that must be found", () => {
  const overlap = (run: (checker: AccessChecker) => void): string => {
    const checker = new AccessChecker(3);
    run(checker);
    const [first] = checker.overlaps();
    assert.ok(first !== undefined, "nothing was found");
    return describeOverlap(first);
  };

  test("two writes", () => {
    const found = overlap((checker) => {
      checker.access(0, 7, true);
      checker.access(1, 7, true);
    });
    assert.equal(
      found,
      "node 7: thread 0 writes it in its epoch 1 and thread 1 writes it in its epoch 1, with no barrier of both between them",
    );
  });

  test("a read behind a write, and a write behind a read that is not the last one", () => {
    assert.match(
      overlap((checker) => {
        checker.access(0, 7, true);
        checker.access(0, 7, true);
        checker.access(2, 7, false);
      }),
      /thread 0 writes .* thread 2 reads/,
    );
    assert.match(
      overlap((checker) => {
        checker.access(0, 7, false);
        checker.access(1, 7, false);
        checker.access(1, 7, true);
      }),
      /thread 0 reads .* thread 1 writes/,
    );
  });

  test("a barrier that only others met", () => {
    assert.match(
      overlap((checker) => {
        checker.access(0, 7, true);
        checker.meet([1, 2], 1);
        checker.access(1, 7, false);
      }),
      /thread 0 writes/,
    );
  });

  test("a barrier that is released before the last one has arrived", () => {
    const run = (early: boolean): AccessChecker => {
      const checker = new AccessChecker(3);
      checker.access(2, 7, true);
      checker.arrive(0, 1);
      checker.arrive(1, 1);
      if (early) checker.leave(1, 1);
      checker.arrive(2, 1);
      if (!early) checker.leave(1, 1);
      checker.access(1, 7, true);
      return checker;
    };
    assert.equal(run(false).overlaps().length, 0);
    assert.equal(run(true).overlaps().length, 1);
  });

  test("a thread that has passed on and writes while the one that executes is not done", () => {
    const checker = new AccessChecker(2);
    checker.meet([0, 1], 1);
    checker.access(0, 7, true);
    checker.access(1, 7, false);
    assert.equal(checker.overlaps().length, 1);
  });
});

describe("what is found is what was not ordered", () => {
  type Step = { readonly kind: "access" | "meet"; readonly a: number; readonly b: number; readonly write: boolean };
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom("access", "access", "access", "meet"),
    a: fc.integer({ min: 0, max: 3 }),
    b: fc.integer({ min: 0, max: 3 }),
    write: fc.boolean(),
  });

  test("the same as a search over all pairs of accesses for a chain of barriers", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const checker = new AccessChecker(4);
        const seen: { thread: number; node: number; write: boolean; at: number }[] = [];
        const meetings: { a: number; b: number; at: number }[] = [];
        let overlapping = false;
        steps.forEach(({ kind, a, b, write }, at) => {
          if (kind === "meet") {
            checker.meet(a === b ? [a] : [a, b], at);
            meetings.push({ a, b, at });
            return;
          }
          checker.access(a, b % 2, write);
          for (const other of seen) {
            if (other.node !== b % 2 || other.thread === a || !(other.write || write)) continue;
            // Threads that something of the other's has come to, over barriers since its access.
            const reached = new Set([other.thread]);
            for (const meeting of meetings) {
              if (meeting.at < other.at || !(reached.has(meeting.a) || reached.has(meeting.b))) continue;
              reached.add(meeting.a);
              reached.add(meeting.b);
            }
            if (!reached.has(a)) overlapping = true;
          }
          seen.push({ thread: a, node: b % 2, write, at });
        });
        assert.equal(checker.overlaps().length > 0, overlapping);
      }),
      { numRuns: 500 },
    );
  });

  test("what is remembered has a bound, and what was forgotten is counted", () => {
    const checker = new AccessChecker(2, { nodesMax: 10 });
    for (let node = 0; node < 25; node++) checker.access(0, node, true);
    assert.equal(checker.forgotten, 15);
    assert.throws(() => checker.leave(0, 5), /nobody has arrived/);
    assert.throws(() => checker.access(2, 1, true), /there are 2 threads/);
    assert.throws(() => new AccessChecker(33), /1 to 32 threads/);
  });
});
