import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ClusterConfig, ExitCode } from "../model/index.js";
import { openCluster, Supervisor } from "../runtime/index.js";
import { ExitError } from "./exit.js";
import type { LogLevel } from "./log-level.js";
import type { ClusterFlags } from "./up-command.js";

/** A cluster on free ports in a directory of its own, which goes away with it, at whatever moment that is. */
export class ThrowawayCluster {
  readonly #flags: ClusterFlags;
  readonly #logLevel: LogLevel;
  readonly #directory: string;
  #opening: Promise<{ readonly config: ClusterConfig }> | null = null;
  #supervisor: Supervisor | null = null;
  #closing: Promise<void> | null = null;

  constructor(flags: ClusterFlags, logLevel: LogLevel) {
    this.#flags = flags;
    this.#logLevel = logLevel;
    this.#directory = mkdtempSync(join(diskDirectory(flags.durability), "synod-bench-"));
  }

  /** Resolves when every replica is ready. Rejects if one dies before; after `close` it may stay pending. */
  async start(): Promise<{ readonly config: ClusterConfig; readonly supervisor: Supervisor }> {
    this.#opening = openCluster(this.#directory, { ...this.#flags, port: this.#flags.port ?? 0 });
    const { config } = await this.#opening;
    if (this.#closing !== null) throw new ExitError(ExitCode.interrupted, "interrupted");
    const supervisor = await new Promise<Supervisor>((resolve, reject) => {
      const made = new Supervisor(this.#directory, config, this.#logLevel, {
        onReady: () => {
          if (made.replicas.every((replica) => replica.ready)) resolve(made);
        },
        onLeader: () => undefined,
        onDeath: (id, reason, code) => {
          reject(new ExitError(code || ExitCode.failed, `replica ${id}: ${reason}`));
        },
      });
      this.#supervisor = made;
      for (const { id } of config.replicas) made.start(id);
    });
    return { config, supervisor };
  }

  /** Stops every replica and removes the directory. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  /** Kills every replica and removes the directory, now. */
  abandon(): void {
    this.#supervisor?.abandon();
    this.#remove();
  }

  async #end(): Promise<void> {
    // What is being created would come back if it were removed too early.
    await this.#opening?.catch(() => undefined);
    await this.#supervisor?.stop();
    this.#remove();
  }

  #remove(): void {
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Type of a file system in memory, in which a sync costs nothing and is worth nothing. */
const TMPFS_MAGIC = 0x01021994;

/** The directory for temporary files, or the present one if that is in memory and the cluster is to write to disk. */
function diskDirectory(durability: ClusterFlags["durability"]): string {
  const directory = tmpdir();
  return durability !== "memory" && statfsSync(directory).type === TMPFS_MAGIC ? process.cwd() : directory;
}
