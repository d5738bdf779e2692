import type { KeyDistribution } from "./load-keys.js";

/** What a load asks for, as fractions of its commands that add up to 1, and how it chooses keys. */
export interface LoadMix {
  readonly read: number;
  readonly update: number;
  /** Of keys that never were there: unique to the client, wherever else a load runs. */
  readonly insert: number;
  /** Of the oldest key that the same client has inserted; an insertion while it has none. */
  readonly delete: number;
  /** Of 1 to `SCAN_LENGTH_MAX` pairs, any number of them equally likely. */
  readonly scan: number;
  /** A read, and when it is answered an update of the same key; one command, timed from first to last. */
  readonly modify: number;
  readonly keys: KeyDistribution;
}

/** Longest scan, as YCSB's workload E has it. */
export const SCAN_LENGTH_MAX = 100;

const none = { read: 0, update: 0, insert: 0, delete: 0, scan: 0, modify: 0 } as const;

/**
 * The workloads by name. Those of YCSB are its six core workloads as published (Cooper et al., "Benchmarking Cloud Serving
 * Systems with YCSB", 2010, table 2, and the workload files that came with it).
 */
const mixes = {
  put: { ...none, update: 1, keys: "uniform" },
  get: { ...none, read: 1, keys: "uniform" },
  mixed: { ...none, read: 0.5, update: 0.5, keys: "uniform" },
  "insert-delete": { ...none, insert: 0.5, delete: 0.5, keys: "uniform" },
  "ycsb-a": { ...none, read: 0.5, update: 0.5, keys: "zipfian" },
  "ycsb-b": { ...none, read: 0.95, update: 0.05, keys: "zipfian" },
  "ycsb-c": { ...none, read: 1, keys: "zipfian" },
  "ycsb-d": { ...none, read: 0.95, insert: 0.05, keys: "latest" },
  "ycsb-e": { ...none, scan: 0.95, insert: 0.05, keys: "zipfian" },
  "ycsb-f": { ...none, read: 0.5, modify: 0.5, keys: "zipfian" },
} as const satisfies Readonly<Record<string, LoadMix>>;

export type LoadWorkload = keyof typeof mixes;

export const LOAD_WORKLOADS = Object.keys(mixes) as readonly LoadWorkload[];

export function isLoadWorkload(name: string): name is LoadWorkload {
  return Object.hasOwn(mixes, name);
}

export function loadMix(workload: LoadWorkload): LoadMix {
  return mixes[workload];
}
