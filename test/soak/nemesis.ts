/**
 * The nemesis: real processes are killed -9, stopped and continued, emptied and restarted while clients on all replicas write
 * down a history, which must be linearizable; at the end nothing acknowledged may be missing and all digests must be equal.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Prng } from "#src/base/index.js";
import { RealCluster } from "./cluster.js";
import { delay } from "./delay.js";
import { loadKind, type LoadVerdict } from "./workload/index.js";

export type FaultKind = "kill" | "stop" | "empty" | "kill all";

export interface NemesisOptions {
  readonly seconds: number;
  readonly seed: number;
  /** `kv`, `btree`, or the path of `examples/bank/bank.js`. */
  readonly service?: string;
  readonly clients?: number;
  /** Mean pause of a lane of a client between two commands, in ms. */
  readonly pauseMs?: number;
  readonly faults?: readonly FaultKind[];
  /** Further flags of `synod up`. */
  readonly flags?: readonly string[];
  readonly log?: (line: string) => void;
}

export interface NemesisReport {
  readonly service: string;
  readonly seconds: number;
  readonly seed: number;
  readonly operations: { readonly ok: number; readonly fail: number; readonly info: number };
  readonly faults: Readonly<Record<FaultKind, number>>;
  readonly longestUnavailabilityMs: number;
  readonly verdict: LoadVerdict;
  readonly digests: readonly (string | null)[];
  readonly exitCode: number | null;
}

export async function runNemesis(options: NemesisOptions): Promise<NemesisReport> {
  const log = options.log ?? (() => undefined);
  const service = options.service ?? "kv";
  const kind = loadKind(service);
  assert(kind !== undefined, `the nemesis has no load for ${service}`);
  const directory = mkdtempSync(join(tmpdir(), "synod-nemesis-"));
  const prng = new Prng(options.seed);
  const kinds = options.faults ?? ["kill", "stop", "empty", "kill all"];
  const faults: Record<FaultKind, number> = { kill: 0, stop: 0, empty: 0, "kill all": 0 };
  const flags = ["--port", "0", "--service", kind.service, ...(options.flags ?? [])];
  const cluster = await RealCluster.start(directory, flags);
  try {
    const load = kind.create({
      resp: cluster.respAddresses,
      client: cluster.ids.map((id) => cluster.entry(id).client),
      clients: options.clients ?? 8,
      pauseMs: options.pauseMs ?? 2,
      prng: prng.fork("load"),
    });
    await load.prepare();
    load.start();
    const until = Date.now() + options.seconds * 1000;
    while (Date.now() < until) {
      await delay(prng.between(500, 2500));
      const fault = prng.pick(kinds);
      // Half of the time the coordinator is the victim, which random choice would hit in a third of the cases only.
      const victim = prng.chance(0.5) ? await cluster.leader() : prng.pick(cluster.ids);
      faults[fault]++;
      log(`${fault} ${fault === "kill all" ? "" : `r${victim}`}`);
      await strike(cluster, fault, victim, prng);
    }
    log("healing");
    await load.stop();
    await load.readAll();
    const status = await cluster.status();
    log("checking");
    const { ok, fail, info, longestGapMs } = load.counts;
    return {
      service,
      seconds: options.seconds,
      seed: options.seed,
      operations: { ok, fail, info },
      faults,
      longestUnavailabilityMs: Math.round(longestGapMs),
      verdict: load.verdict(),
      digests: status?.replicas.map((replica) => replica.digest?.hex ?? null) ?? [],
      exitCode: await cluster.close(),
    };
  } finally {
    await cluster.close();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function strike(cluster: RealCluster, kind: FaultKind, victim: number, prng: Prng): Promise<void> {
  const pause = prng.between(200, 4000);
  switch (kind) {
    case "kill":
      cluster.kill(victim);
      await delay(pause);
      return cluster.restart(victim);
    case "stop":
      cluster.stop(victim);
      await delay(pause);
      cluster.continue(victim);
      return;
    case "empty":
      cluster.kill(victim);
      await delay(100);
      cluster.empty(victim);
      await delay(pause);
      return cluster.restart(victim);
    case "kill all":
      for (const id of cluster.ids) cluster.kill(id);
      await delay(pause / 4);
      await Promise.all(cluster.ids.map((id) => cluster.restart(id)));
  }
}
