import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ClusterConfig, ExitCode } from "../model/index.js";
import { openCluster } from "../runtime/index.js";
import { ExitError } from "./exit.js";
import type { LogLevel } from "./log-level.js";
import { Supervisor } from "./supervisor.js";
import type { ClusterFlags } from "./up-command.js";

/** A cluster on free ports in a directory of its own, which goes away with it. */
export interface ThrowawayCluster {
  readonly config: ClusterConfig;
  readonly supervisor: Supervisor;
  /** Stops every replica and removes the directory. */
  close(): Promise<void>;
}

/** Starts a cluster and resolves when it is ready. Rejects, leaving nothing behind, if a replica dies before. */
export async function startThrowawayCluster(flags: ClusterFlags, logLevel: LogLevel): Promise<ThrowawayCluster> {
  const directory = mkdtempSync(join(diskDirectory(flags.durability), "synod-bench-"));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  let supervisor: Supervisor | null = null;
  try {
    const { config } = await openCluster(directory, { ...flags, port: flags.port ?? 0 });
    const running = await new Promise<Supervisor>((resolve, reject) => {
      const made = new Supervisor(directory, config, logLevel, {
        onReady: () => {
          if (made.replicas.every((replica) => replica.ready)) resolve(made);
        },
        onLeader: () => undefined,
        onDeath: (id, reason, code) => {
          reject(new ExitError(code || ExitCode.failed, `replica ${id}: ${reason}`));
        },
      });
      supervisor = made;
      for (const { id } of config.replicas) made.start(id);
    });
    return {
      config,
      supervisor: running,
      async close() {
        await running.stop();
        remove();
      },
    };
  } catch (error) {
    await (supervisor as Supervisor | null)?.stop();
    remove();
    throw error;
  }
}

/** Type of a file system in memory, in which a sync costs nothing and is worth nothing. */
const TMPFS_MAGIC = 0x01021994;

/** The directory for temporary files, or the present one if that is in memory and the cluster is to write to disk. */
function diskDirectory(durability: ClusterFlags["durability"]): string {
  const directory = tmpdir();
  return durability !== "memory" && statfsSync(directory).type === TMPFS_MAGIC ? process.cwd() : directory;
}
