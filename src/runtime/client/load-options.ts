import { ConfigError } from "../../model/index.js";
import { isLoadWorkload, LOAD_WORKLOADS, type LoadWorkload } from "./load-workload.js";

/** How the due times of an open loop lie: evenly apart, or at random as requests of many independent people do. */
export const LOAD_ARRIVALS = ["constant", "poisson"] as const;
export type LoadArrivals = (typeof LOAD_ARRIVALS)[number];

export interface LoadOptions {
  readonly workload: LoadWorkload;
  /** Clients, each with a session and connections of its own. */
  readonly clients: number;
  /** Commands that each client keeps outstanding; with a rate, has outstanding at most. */
  readonly window: number;
  /** Keys that are written before the load begins. */
  readonly keys: number;
  /** Measured time. */
  readonly seconds: number;
  /** The load runs this long before it is measured. */
  readonly warmupSeconds: number;
  /** Commands per second, sent when due whatever is outstanding up to the windows; null: as fast as replies come. */
  readonly rate: number | null;
  /** Only with a rate. */
  readonly arrivals: LoadArrivals;
  readonly seed: number;
}

export const loadDefaults: LoadOptions = Object.freeze({
  workload: "put",
  clients: 1,
  window: 64,
  keys: 100_000,
  seconds: 10,
  warmupSeconds: 1,
  rate: null,
  arrivals: "constant",
  seed: 1,
});

/** Completes and checks options. Throws `ConfigError`. */
export function loadOptions(partial: Partial<LoadOptions> = {}): LoadOptions {
  const options = { ...loadDefaults, ...partial };
  const whole = (name: "clients" | "window" | "keys", max: number): void => {
    const value = options[name];
    if (!Number.isInteger(value) || value < 1 || value > max) {
      throw new ConfigError(`${name} is a whole number of 1 to ${max}, got ${value}`);
    }
  };
  if (!isLoadWorkload(options.workload)) {
    throw new ConfigError(`the workload is one of ${LOAD_WORKLOADS.join(", ")}, got ${String(options.workload)}`);
  }
  whole("clients", 10_000);
  whole("window", 1_000_000);
  whole("keys", 1_000_000_000);
  if (!(options.seconds > 0 && options.seconds <= 86_400)) {
    throw new ConfigError(`seconds is above 0 and at most 86400, got ${options.seconds}`);
  }
  if (!(options.warmupSeconds >= 0 && options.warmupSeconds <= 3600)) {
    throw new ConfigError(`warmupSeconds is 0 to 3600, got ${options.warmupSeconds}`);
  }
  if (options.rate !== null && !(options.rate > 0 && options.rate <= 1e9)) {
    throw new ConfigError(`rate is above 0 and at most 1e9 commands per second, got ${options.rate}`);
  }
  if (!LOAD_ARRIVALS.includes(options.arrivals)) {
    throw new ConfigError(`arrivals are one of ${LOAD_ARRIVALS.join(", ")}, got ${options.arrivals}`);
  }
  return Object.freeze(options);
}
