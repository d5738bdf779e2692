import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { Barrier, ReplicatedState, Role } from "#src/execution/index.js";
import type { GroupMapping, SharedService, SnapshotSource } from "#src/model/index.js";
import { Btree } from "#src/service/index.js";
import { cutOf, digestOf, planOf, restored, runAgainstOracle } from "./psmr-check.js";
import type { Delivery, Plan } from "./psmr-plan.js";
import { PsmrReplica, type ReplicaOptions } from "./psmr-replica.js";

const SEEDS = 40;

interface Bug {
  readonly name: string;
  /** What finds it: the message of a failed check. */
  readonly finding: RegExp;
  /** Puts it in, and returns what takes it out. */
  readonly plant?: () => () => void;
  readonly mapping?: ReplicaOptions["mapping"];
  /** Another way to run a plan than once against the oracle. */
  readonly run?: (plan: Plan, seed: number) => void;
}

/** Puts another method in place of one, which it is given, until the returned function is called. */
function replace<T extends object, K extends keyof T>(target: T, name: K, make: (before: T[K]) => T[K]): () => void {
  const before = target[name];
  target[name] = make(before);
  return () => {
    target[name] = before;
  };
}

/** Goes on from a checkpoint and compares with a run that was not interrupted. */
function throughCheckpoint(plan: Plan, seed: number): void {
  const through = new PsmrReplica(plan);
  through.run(new Prng(seed));
  const prng = new Prng(seed);
  const cutting = new PsmrReplica(plan);
  cutting.run(prng, [0]);
  const later = restored(plan, cutOf(cutting, prng));
  later.run(prng);
  assert.deepEqual(digestOf(later.service), digestOf(through.service), "state after a checkpoint");
}

/** One thread delivers a batch of g_all one place later than it does elsewhere. */
function mergedByArrival(plan: Plan, seed: number): void {
  const first = runAgainstOracle(plan, seed);
  const merged = plan.merged.map((deliveries) => [...deliveries]);
  const swapped = merged[plan.threads - 1] as Delivery[];
  for (let i = 1; i + 2 < swapped.length; i++) {
    const [a, b] = [swapped[i] as Delivery, swapped[i + 1] as Delivery];
    if (a.stream !== 0 || b.stream === 0) continue;
    [swapped[i], swapped[i + 1]] = [b, a];
    break;
  }
  const second = runAgainstOracle({ ...plan, merged }, seed);
  assert.deepEqual(second.digests, first.digests, "digests at common positions");
}

const bugs: readonly Bug[] = [
  {
    name: "a barrier is released early",
    finding: /no barrier of both|at which nobody has arrived/,
    plant: () =>
      replace(
        Barrier.prototype,
        "arrive",
        (before) =>
          function early(this: Barrier, thread, number) {
            before.call(this, thread, number);
            this.release(thread, number);
          },
      ),
  },
  {
    name: "the executor does not wait for all of γ",
    finding: /no barrier of both|at which nobody has arrived/,
    plant: () => replace(Barrier.prototype, "allArrived", () => () => true),
  },
  {
    name: "the executor waits for one thread too few",
    finding: /no barrier of both/,
    plant: () =>
      replace(
        Barrier.prototype,
        "allArrived",
        (before) =>
          function few(this: Barrier, number, mask) {
            const several = (mask & (mask - 1)) !== 0;
            return before.call(this, number, several ? mask & (0x7fffffff >>> Math.clz32(mask)) : mask);
          },
      ),
  },
  {
    name: "a release is lost",
    finding: /stands at barrier/,
    plant: () =>
      replace(
        Barrier.prototype,
        "release",
        (before) =>
          function lost(this: Barrier, executor, number) {
            if (number !== 4) before.call(this, executor, number);
          },
      ),
  },
  {
    name: "the mapping gives inserts and deletes no group in common",
    finding: /no barrier of both|only the first thread/,
    mapping: (service: SharedService, groups: number): GroupMapping => ({
      groups,
      masks: (run, masks) => service.groups(run, 1, masks),
    }),
  },
  {
    name: "every thread of γ executes a batch of g_all",
    finding: /answered twice|no barrier of both/,
    plant: () =>
      replace(
        ReplicatedState.prototype,
        "apply",
        (before) =>
          function twice(this: ReplicatedState, instance, batch, out, role) {
            return before.call(this, instance, batch, out, role === Role.follow ? Role.among : (role ?? Role.alone));
          },
      ),
  },
  {
    name: "a checkpoint is cut behind the barrier",
    finding: /state after a checkpoint/,
    plant: () =>
      replace(
        Btree.prototype,
        "snapshot",
        (before) =>
          function late(this: Btree) {
            let source: SnapshotSource | null = null;
            return {
              next: (writer, bytesTarget) => (source ??= before.call(this)).next(writer, bytesTarget),
              close: () => source?.close(),
            };
          },
      ),
    run: throughCheckpoint,
  },
  {
    name: "a thread merges by arrival",
    finding: /digests at common positions/,
    run: mergedByArrival,
  },
  {
    name: "a thread does not take over the tree behind a barrier",
    finding: /instead of|digest of the service/,
    plant: () => replace(Btree.prototype, "adopt", () => () => {}),
  },
  {
    name: "the digests of other threads are left out",
    finding: /digest of the service/,
    plant: () =>
      replace(
        Btree.prototype,
        "publish",
        (before) =>
          function silent(this: Btree, alone) {
            if (alone) before.call(this, alone);
          },
      ),
  },
];

describe("P-SMR: planted bugs are found", () => {
  for (const bug of bugs) {
    test(bug.name, () => {
      const unplant = bug.plant?.();
      const findings: string[] = [];
      try {
        for (let seed = 1; seed <= SEEDS && findings.length === 0; seed++) {
          const plan = planOf(seed, { threads: 2 + (seed % 3), own: 10 + seed });
          try {
            if (bug.run === undefined)
              runAgainstOracle(plan, seed, bug.mapping === undefined ? {} : { mapping: bug.mapping });
            else bug.run(plan, seed);
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

  test("nothing is found without one", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const plan = planOf(seed, { threads: 2 + (seed % 3), own: 10 + seed });
      runAgainstOracle(plan, seed);
      throughCheckpoint(plan, seed);
    }
  });
});
