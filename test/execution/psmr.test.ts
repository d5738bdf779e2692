import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ByteWriter, Prng } from "#src/base/index.js";
import { Waiting } from "#src/execution/index.js";
import { Btree } from "#src/service/index.js";
import { makePlan, type Plan, type PlanOptions } from "./psmr-plan.js";
import { PsmrReplica, type ReplicaOptions } from "./psmr-replica.js";
import { Oracle } from "./psmr-oracle.js";

const SEEDS = 60;

function digestOf(service: Btree): number[] {
  const digest = new Uint32Array(4);
  service.digest(digest);
  return Array.from(digest);
}

/** The first answers that are not as expected, or not expected, or missing. */
function differences(found: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>): string[] {
  const blocks = new Set([...found.keys(), ...expected.keys()]);
  return [...blocks]
    .filter((block) => found.get(block) !== expected.get(block))
    .slice(0, 5)
    .map((block) => `${block}: ${found.get(block)} instead of ${expected.get(block)}`);
}

/** Runs a plan to its end and holds everything it did against a sequential execution in the order that the witness tells. */
function runAgainstOracle(plan: Plan, seed: number, options: ReplicaOptions = {}): PsmrReplica {
  const replica = new PsmrReplica(plan, options);
  const prng = new Prng(seed);
  // At first some threads lag, so that others come to barriers that are not released for long.
  replica.run(prng, [prng.below(plan.threads)]);
  replica.run(prng);
  assert.equal(replica.complaint(), null);
  const oracle = new Oracle(plan.threads, plan.options);
  for (const { stream, instance } of replica.witness) oracle.batch(stream, instance, replica.batch(stream, instance));
  assert.deepEqual(differences(replica.answers, oracle.answers), []);
  assert.deepEqual(digestOf(replica.service), digestOf(oracle.service));
  return replica;
}

function planOf(seed: number, options: Partial<PlanOptions> = {}): Plan {
  const prng = new Prng(seed);
  return makePlan({
    threads: 1 + prng.below(5),
    seed,
    all: 5 + prng.below(30),
    own: prng.below(40),
    keys: 20 + prng.below(400),
    hashed: prng.chance(0.3),
    ...options,
  });
}

describe("P-SMR: threads under a seeded scheduler", () => {
  for (const barrier of ["run", "command"] as const) {
    test(`replies, state and digests are those of a sequential execution (barrier per ${barrier})`, () => {
      for (let seed = 1; seed <= SEEDS; seed++) {
        const plan = planOf(seed);
        try {
          const first = runAgainstOracle(plan, seed, { barrier });
          const second = runAgainstOracle(plan, seed + 1_000_000, { barrier });
          assert.deepEqual(second.digests, first.digests, "digests at common positions");
          assert.ok(first.digests.size > 0);
        } catch (error) {
          throw new Error(`seed ${seed}`, { cause: error });
        }
      }
    });
  }
});
