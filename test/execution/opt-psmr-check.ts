/** What holds of every run of opt-PSMR's threads, whatever its schedule; tests of planted bugs expect it not to. */

import assert from "node:assert/strict";
import { Prng } from "#src/base/index.js";
import { OptOracle } from "./opt-psmr-oracle.js";
import { OptWorld, type WorldOptions } from "./opt-psmr-world.js";
import { differences, digestOf } from "./psmr-check.js";
import { PsmrReplica } from "./psmr-replica.js";

/** Holds what a replica did against a sequential execution in the order that its witness tells (O1, O3). */
export function againstOracle(replica: PsmrReplica): OptOracle {
  assert.equal(replica.complaint(), null);
  const oracle = new OptOracle(replica.plan.threads, replica.plan.options);
  for (const { stream, instance } of replica.witness) oracle.batch(stream, instance, replica.batch(stream, instance));
  assert.equal(differences(replica.answers, oracle.answers), "");
  assert.deepEqual(digestOf(replica.service), digestOf(oracle.service), "digest of the service");
  return oracle;
}

/** Another replica that executes what a world has recorded, under another schedule; it ends as the first did. */
export function followed(world: OptWorld, options: WorldOptions, seed: number): PsmrReplica {
  const follower = new PsmrReplica(world.plan, options.replica);
  const prng = new Prng(seed);
  follower.run(prng, [prng.below(world.plan.threads)]);
  follower.run(prng);
  assert.equal(follower.complaint(), null);
  assert.deepEqual(follower.digests, world.replica.digests, "digests at common positions");
  assert.equal(differences(follower.answers, world.replica.answers), "");
  return follower;
}

/** Runs a world to its end, and everything that must hold of it. */
export function runWorld(options: WorldOptions): { readonly world: OptWorld; readonly oracle: OptOracle } {
  const world = new OptWorld(options);
  world.run();
  const oracle = againstOracle(world.replica);
  followed(world, options, options.seed + 1_000_000);
  for (const model of world.replica.threads) {
    model.queues((queue, value, maximum) => assert.ok(value <= maximum, `${queue} has ${value}`));
  }
  return { world, oracle };
}
