/** Saturating load for minutes: no election, no errors, equal digests. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RealCluster } from "./cluster.js";
import { type BenchResult, residentMiB, SaturatingLoad } from "./load.js";

export interface SaturatedReport {
  readonly seconds: number;
  /** Changes of leadership after the cluster was ready. */
  readonly elections: number;
  readonly bench: BenchResult | null;
  readonly residentMiB: Readonly<Record<number, number>>;
  readonly digests: readonly (string | null)[];
}

export async function runSaturated(seconds: number, log: (line: string) => void): Promise<SaturatedReport> {
  const directory = mkdtempSync(join(tmpdir(), "synod-saturated-"));
  const cluster = await RealCluster.start(directory);
  try {
    const before = (await cluster.status())?.replicas.find((replica) => replica.role === "leader");
    const load = new SaturatingLoad(directory, seconds, "mixed");
    const { result, stderr } = await load.result();
    if (result === null) log(stderr);
    const status = await cluster.status();
    const after = status?.replicas.find((replica) => replica.role === "leader");
    const ballots = [before, after].map((replica) => (replica as { ballot?: number } | undefined)?.ballot ?? 0);
    return {
      seconds,
      elections:
        ballots[0] === ballots[1] ? 0 : Math.floor(((ballots[1] as number) - (ballots[0] as number)) / 64) || 1,
      bench: result,
      residentMiB: Object.fromEntries(cluster.ids.map((id) => [id, residentMiB(cluster.pid(id))])),
      digests: status?.replicas.map((replica) => replica.digest?.hex ?? null) ?? [],
    };
  } finally {
    await cluster.close();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
