/**
 * A follower is stopped (or killed and emptied) while the others work under saturating load; their memory must stay bounded,
 * and it must catch up under full load when it comes back.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { queryReplica } from "./query.js";
import { delay } from "./delay.js";
import { RealCluster } from "./cluster.js";
import { residentMiB, SaturatingLoad } from "./load.js";

export interface StragglerReport {
  readonly how: "stopped" | "emptied";
  readonly seconds: number;
  readonly throughput: number | null;
  /** Largest resident memory of each other replica, in MiB, sampled each second. */
  readonly residentMaxMiB: Readonly<Record<number, number>>;
  /** How far it was behind when it came back, in instances, and how long it took to be within 1 % of that, under load. */
  readonly behindInstances: number;
  readonly caughtUpMs: number;
  readonly errors: number | null;
}

export async function runStraggler(
  how: "stopped" | "emptied",
  seconds: number,
  log: (line: string) => void,
): Promise<StragglerReport> {
  const directory = mkdtempSync(join(tmpdir(), "synod-straggler-"));
  const cluster = await RealCluster.start(directory);
  try {
    const leader = await cluster.leader();
    const straggler = cluster.ids.find((id) => id !== leader) as number;
    const others = cluster.ids.filter((id) => id !== straggler);
    const residentMaxMiB: Record<number, number> = {};
    const load = new SaturatingLoad(directory, seconds + 90);
    await delay(2000);
    if (how === "stopped") cluster.stop(straggler);
    else {
      await cluster.kill(straggler);
      cluster.empty(straggler);
    }
    const until = Date.now() + seconds * 1000;
    let samples = 0;
    while (Date.now() < until) {
      await delay(1000);
      for (const id of others) residentMaxMiB[id] = Math.max(residentMaxMiB[id] ?? 0, residentMiB(cluster.pid(id)));
      if (samples++ % 30 === 0) log(`resident MiB: ${JSON.stringify(residentMaxMiB)}`);
    }
    const executed = async (id: number): Promise<number> => (await queryReplica(cluster.entry(id).client)).executed;
    const at = Date.now();
    const target = await executed(leader);
    const restarting = how === "stopped" ? null : cluster.restart(straggler);
    if (how === "stopped") cluster.continue(straggler);
    const start = await executed(straggler).catch(() => 0);
    const behindInstances = target - start;
    log(`back, ${behindInstances} instances behind`);
    for (;;) {
      await delay(100);
      const [here, there] = [await executed(straggler).catch(() => 0), await executed(leader)];
      for (const id of others) residentMaxMiB[id] = Math.max(residentMaxMiB[id] ?? 0, residentMiB(cluster.pid(id)));
      if (here >= target && there - here <= Math.max(200, behindInstances / 100)) break;
      if (Date.now() - at > 80_000) break;
    }
    const caughtUpMs = Date.now() - at;
    log(`caught up after ${caughtUpMs} ms`);
    await restarting;
    const { result } = await load.result();
    return {
      how,
      seconds,
      throughput: result?.throughput ?? null,
      residentMaxMiB,
      behindInstances,
      caughtUpMs,
      errors: result?.errors ?? null,
    };
  } finally {
    await cluster.close();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
