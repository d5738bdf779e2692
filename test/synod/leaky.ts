import { defineService, table } from "synod";

/**
 * A service that a setting of the process leaks into: how deep stack traces are, a flag of the engine that differs where
 * NODE_OPTIONS does. No guard can know all of what an engine lets one see.
 */
export const leaky = defineService({
  module: import.meta.url,
  name: "leaky",
  tables: { seen: table<number>() },
  commands: {
    put: {
      keys: (a: { key: string; value: number }) => [a.key],
      execute: ({ seen }, a) => seen.set(a.key, a.value),
    },
    leak: {
      keys: (a: { key: string }) => [a.key],
      execute: ({ seen }, a) => seen.set(a.key, Error.stackTraceLimit),
    },
  },
});

export const simulate = {
  commands: (random: () => number) => {
    const key = `k${Math.floor(random() * 4)}`;
    return random() < 0.1 ? { name: "leak", args: { key } } : { name: "put", args: { key, value: 1 } };
  },
};
