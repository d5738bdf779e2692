import { defineService, table } from "synod";

/** A service one of whose commands reads the clock. */
export const clocked = defineService({
  module: import.meta.url,
  name: "clocked",
  tables: { stamps: table<number>() },
  commands: {
    put: {
      keys: (a: { key: string }) => [a.key],
      execute: ({ stamps }, a) => stamps.set(a.key, 1),
    },
    stamp: {
      keys: (a: { key: string }) => [a.key],
      execute: ({ stamps }, a) => stamps.set(a.key, Date.now()),
    },
  },
});

export const simulate = {
  commands: (random: () => number) => {
    const key = `k${Math.floor(random() * 4)}`;
    return { name: random() < 0.02 ? "stamp" : "put", args: { key } };
  },
};
