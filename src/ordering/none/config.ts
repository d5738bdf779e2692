import { ConfigError } from "../../model/index.js";

/** Knobs of a server that is not replicated; sizes in bytes. */
export interface NoneConfig {
  /** Most batches that are not durable yet. */
  readonly windowInstancesMax: number;
  readonly windowBytesMax: number;
  /** Bytes of log that no checkpoint covers; beyond, nothing is proposed. The host may allow more while it runs, never less. */
  readonly logBytesMax: number;
  /** Batches of log that no checkpoint covers, with the same effect. */
  readonly logInstancesMax: number;
}

export const noneDefaults: NoneConfig = Object.freeze({
  windowInstancesMax: 64,
  windowBytesMax: 16 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  logInstancesMax: 1_000_000,
});

/** Completes and checks a configuration; knobs of other orderings are passed over. Throws `ConfigError`. */
export function noneConfig(partial: Partial<NoneConfig> = {}): NoneConfig {
  const config = { ...noneDefaults };
  for (const name of Object.keys(noneDefaults) as (keyof NoneConfig)[]) {
    const value = partial[name] ?? noneDefaults[name];
    if (!(Number.isFinite(value) && value >= 1)) throw new ConfigError(`${name} must be at least 1, got ${value}`);
    Object.assign(config, { [name]: value });
  }
  return Object.freeze(config);
}
