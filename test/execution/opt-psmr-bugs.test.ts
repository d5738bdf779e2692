/** Planted mistakes about failed commands and their copies: each is found by what every run of opt-PSMR is held against. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ByteWriter } from "#src/base/index.js";
import { Barrier, ReplicatedState } from "#src/execution/index.js";
import { Btree } from "#src/service/index.js";
import { againstOracle, followed, runWorld } from "./opt-psmr-check.js";
import { OptWorld, type WorldOptions, worldOptions } from "./opt-psmr-world.js";
import type { Delivery } from "./psmr-plan.js";

const SEEDS = 20;

interface Bug {
  readonly name: string;
  /** What finds it: the message of a failed check. */
  readonly finding: RegExp;
  /** Puts it in, and returns what takes it out. */
  readonly plant?: () => () => void;
  /** Another way to run a world than once against the oracle. */
  readonly run?: (options: WorldOptions) => void;
}

/** Puts another method in place of one, which it is given, until the returned function is called. */
function replace<T extends object, K extends keyof T>(target: T, name: K, make: (before: T[K]) => T[K]): () => void {
  const before = target[name];
  target[name] = make(before);
  return () => {
    target[name] = before;
  };
}

/** One thread of a second replica delivers a batch of g_all behind the next batch of its own stream: as it arrived. */
function mergedByArrival(options: WorldOptions): void {
  const world = new OptWorld(options);
  world.run();
  againstOracle(world.replica);
  for (const merged of world.plan.merged as Delivery[][]) {
    for (let i = merged.length - 3; i > 1; i--) {
      const [a, b] = [merged[i] as Delivery, merged[i + 1] as Delivery];
      if (a.stream === 0 && b.stream > 0 && a.batch.commands > 0 && b.batch.commands > 0) {
        [merged[i], merged[i + 1]] = [b, a];
        break;
      }
    }
  }
  followed(world, options, options.seed);
}

const bugs: readonly Bug[] = [
  {
    name: "a failed command executes where it failed (E5)",
    finding: /instead of|digest|while other threads execute|no barrier of both/,
    plant: () =>
      replace(
        Btree.prototype,
        "attempt",
        (before) =>
          function eager(this: Btree, run, first, thread, replies) {
            const stopped = before.call(this, run, first, thread, replies);
            if (stopped === run.count) return stopped;
            const one = { ...run, offsets: run.offsets.subarray(stopped, stopped + 1), count: 1, answered: 1 };
            this.execute(one, new ByteWriter(), null);
            return stopped;
          },
      ),
  },
  {
    name: "copies are taken for what they are copies of (E6: by client and number alone)",
    finding: /never answered/,
    plant: () => replace(ReplicatedState.prototype, "executeConservative", () => (_order, batch) => batch.blocks),
  },
  {
    name: "a later command of a session overtakes a failed one",
    finding: /instead of/,
    plant: () =>
      replace(
        Btree.prototype,
        "conflicts",
        (before) =>
          function independent(this: Btree, run, low, high, writes) {
            before.call(this, run, low, high, writes);
            writes.fill(0, 0, run.count);
          },
      ),
  },
  {
    name: "a conservative command executes without the barrier",
    finding: /no barrier of both|at which nobody has arrived|while other threads execute|instead of/,
    plant: () => replace(Barrier.prototype, "allArrived", () => () => true),
  },
  {
    name: "an executor does not take over the tree of the one before it",
    finding: /instead of|digest|not in order|damaged/,
    plant: () => replace(Btree.prototype, "adopt", () => () => {}),
  },
  {
    name: "the check depends on how often it was asked",
    finding: /instead of|digest/,
    plant: () => {
      let asked = 0;
      return replace(
        Btree.prototype,
        "attempt",
        (before) =>
          function moody(this: Btree, run, first, thread, replies) {
            return asked++ % 17 === 16 ? first : before.call(this, run, first, thread, replies);
          },
      );
    },
  },
  {
    name: "the reply of a failed command is left",
    finding: /other than one reply/,
    plant: () =>
      replace(
        Btree.prototype,
        "attempt",
        (before) =>
          function littering(this: Btree, run, first, thread, replies) {
            const stopped = before.call(this, run, first, thread, replies);
            if (stopped < run.count) replies.u32(4);
            return stopped;
          },
      ),
  },
  {
    name: "a thread merges by arrival",
    finding: /digests at common positions|instead of/,
    run: mergedByArrival,
  },
];

describe("opt-PSMR: planted bugs are found", () => {
  for (const bug of bugs) {
    test(bug.name, () => {
      const unplant = bug.plant?.();
      const findings: string[] = [];
      try {
        for (let seed = 1; seed <= SEEDS && findings.length === 0; seed++) {
          const options = worldOptions(seed, { threads: 2 + (seed % 3) });
          try {
            if (bug.run === undefined) runWorld(options);
            else bug.run(options);
          } catch (error) {
            findings.push((error as Error).message);
          }
        }
      } finally {
        unplant?.();
      }
      assert.match(findings[0] ?? "not found", bug.finding);
    });
  }
});
