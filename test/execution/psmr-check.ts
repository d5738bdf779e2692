/** What holds of every run of P-SMR's threads, whatever its schedule; tests of planted bugs expect it not to. */

import assert from "node:assert/strict";
import { ByteWriter, Prng } from "#src/base/index.js";
import { Btree } from "#src/service/index.js";
import { Oracle } from "./psmr-oracle.js";
import { makePlan, type Plan, type PlanOptions } from "./psmr-plan.js";
import { PsmrReplica, type ReplicaOptions } from "./psmr-replica.js";

export function digestOf(service: Btree): number[] {
  const digest = new Uint32Array(4);
  service.digest(digest);
  return Array.from(digest);
}

/** The first answers that are not as expected, or not expected, or missing. */
export function differences(found: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>): string {
  const blocks = new Set([...found.keys(), ...expected.keys()]);
  return [...blocks]
    .filter((block) => found.get(block) !== expected.get(block))
    .slice(0, 5)
    .map((block) => `${block}: ${found.get(block)} instead of ${expected.get(block)}`)
    .join("\n");
}

/** Runs a plan to its end and holds everything it did against a sequential execution in the order that the witness tells. */
export function runAgainstOracle(plan: Plan, seed: number, options: ReplicaOptions = {}): PsmrReplica {
  const replica = new PsmrReplica(plan, options);
  const prng = new Prng(seed);
  // At first some threads lag, so that others come to barriers that are not released for long.
  replica.run(prng, [prng.below(plan.threads)]);
  replica.run(prng);
  assert.equal(replica.complaint(), null);
  const oracle = new Oracle(plan.threads, plan.options);
  for (const { stream, instance } of replica.witness) oracle.batch(stream, instance, replica.batch(stream, instance));
  assert.equal(differences(replica.answers, oracle.answers), "");
  assert.deepEqual(digestOf(replica.service), digestOf(oracle.service), "digest of the service");
  return replica;
}

export function planOf(seed: number, options: Partial<PlanOptions> = {}): Plan {
  const prng = new Prng(seed);
  return makePlan({
    threads: 1 + prng.below(5),
    seed,
    all: 5 + prng.below(30),
    own: prng.below(40),
    keys: 20 + prng.below(1000),
    preload: prng.chance(0.3) ? 0 : 300,
    hashed: prng.chance(0.3),
    ...options,
  });
}

/** Runs until a checkpoint was cut in every thread, and returns its parts as bytes. */
export function cutOf(
  replica: PsmrReplica,
  prng: Prng,
): { readonly parts: Uint8Array[]; readonly service: Uint8Array } {
  const read = (source: { next(writer: ByteWriter, bytesTarget: number): boolean; close(): void }): Uint8Array => {
    const writer = new ByteWriter(64, 1 << 26);
    while (source.next(writer, 100));
    source.close();
    return writer.toBytes();
  };
  (replica.threads[0] as PsmrReplica["threads"][number]).requestCut();
  replica.run(prng);
  const cuts = replica.cuts.map((taken) => {
    assert.equal(taken.length, 1, "each thread cuts once");
    return taken[0] as (typeof taken)[number];
  });
  assert.equal(new Set(cuts.map((cut) => cut.all)).size, 1, "all threads cut at one instance of g_all");
  const service = cuts.map((cut) => cut.service).filter((source) => source !== null);
  assert.equal(service.length, 1);
  return { parts: cuts.map((cut) => read(cut.part)), service: read(service[0] as (typeof service)[number]) };
}

/** A replica that goes on from a checkpoint. */
export function restored(plan: Plan, checkpoint: ReturnType<typeof cutOf>, options: ReplicaOptions = {}): PsmrReplica {
  const service = new Btree(plan.options);
  const sink = service.restore();
  sink.write(checkpoint.service, 0, checkpoint.service.length);
  sink.finish();
  const replica = new PsmrReplica(plan, { ...options, service });
  replica.threads.forEach((model, thread) => {
    const part = checkpoint.parts[thread] as Uint8Array;
    const into = model.restore();
    for (let at = 0; at < part.length; at += 37) into.write(part, at, Math.min(part.length, at + 37));
    into.finish();
    const { executed, executedAll } = model.inspect();
    replica.given[thread] = executed + executedAll;
  });
  return replica;
}
