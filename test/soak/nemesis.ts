/**
 * The nemesis: real processes are killed -9, stopped and continued, emptied and restarted while clients on all replicas write
 * down a history, which must be linearizable; at the end nothing acknowledged may be missing and all digests must be equal.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Prng } from "#src/base/index.js";
import { checkHistory, type Verdict } from "#src/sim/index.js";
import { HistoryClients, delay } from "./clients.js";
import { RealCluster } from "./cluster.js";

export type FaultKind = "kill" | "stop" | "empty" | "kill all";

export interface NemesisOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly clients?: number;
  readonly keys?: number;
  /** Mean pause of a client between two commands, in ms. */
  readonly pauseMs?: number;
  readonly faults?: readonly FaultKind[];
  /** Further flags of `synod up`. */
  readonly flags?: readonly string[];
  readonly log?: (line: string) => void;
}

export interface NemesisReport {
  readonly seconds: number;
  readonly seed: number;
  readonly operations: { readonly ok: number; readonly fail: number; readonly info: number };
  readonly faults: Readonly<Record<FaultKind, number>>;
  readonly longestUnavailabilityMs: number;
  readonly verdict: Verdict;
  readonly digests: readonly (string | null)[];
  readonly exitCode: number | null;
}

export async function runNemesis(options: NemesisOptions): Promise<NemesisReport> {
  const log = options.log ?? (() => undefined);
  const directory = mkdtempSync(join(tmpdir(), "synod-nemesis-"));
  const prng = new Prng(options.seed);
  const kinds = options.faults ?? ["kill", "stop", "empty", "kill all"];
  const faults: Record<FaultKind, number> = { kill: 0, stop: 0, empty: 0, "kill all": 0 };
  const cluster = await RealCluster.start(directory, ["--port", "0", ...(options.flags ?? [])]);
  try {
    const clients = new HistoryClients({
      addresses: cluster.respAddresses,
      clients: options.clients ?? 8,
      keys: options.keys ?? 12,
      pauseMs: options.pauseMs ?? 2,
      seed: options.seed,
    });
    const until = Date.now() + options.seconds * 1000;
    while (Date.now() < until) {
      await delay(prng.between(500, 2500));
      const kind = prng.pick(kinds);
      // Half of the time the coordinator is the victim, which random choice would hit in a third of the cases only.
      const victim = prng.chance(0.5) ? await cluster.leader() : prng.pick(cluster.ids);
      faults[kind]++;
      log(`${kind} ${kind === "kill all" ? "" : `r${victim}`}`);
      await strike(cluster, kind, victim, prng);
    }
    log("healing");
    await clients.stop();
    await clients.readAll();
    const status = await cluster.status();
    log("checking");
    const verdict = checkHistory(clients.recorder.operations);
    const { ok, fail, info, longestGapMs } = clients.counts;
    return {
      seconds: options.seconds,
      seed: options.seed,
      operations: { ok, fail, info },
      faults,
      longestUnavailabilityMs: Math.round(longestGapMs),
      verdict,
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
