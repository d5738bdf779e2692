import { arch, availableParallelism, cpus, platform, totalmem } from "node:os";

/** Where an experiment was run. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_gib: number;
  readonly os: string;
  readonly node: string;
  /** Processes that were ready to run when the experiment began, on average over a minute, by core: above 1 figures are noisy. */
  readonly load_per_core: number;
}

export function describeMachine(loadAverage: number): Machine {
  const cores = availableParallelism();
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores,
    memory_gib: Math.round(totalmem() / 2 ** 30),
    os: `${platform()} ${arch()}`,
    node: process.version,
    load_per_core: Number((loadAverage / cores).toFixed(2)),
  };
}
