import { defineService, table } from "synod";

/** What a replica has seen since it was started: no part of the state, lost with the process, and the mistake here. */
let puts = 0;

/** A service with state outside of its tables. */
export const hidden = defineService({
  module: import.meta.url,
  name: "hidden",
  tables: { numbers: table<number>() },
  commands: {
    put: {
      keys: (a: { key: string }) => [a.key],
      execute: ({ numbers }, a) => {
        puts++;
        numbers.set(a.key, 1);
      },
    },
    number: {
      keys: (a: { key: string }) => [a.key],
      execute: ({ numbers }, a) => numbers.set(a.key, puts),
    },
  },
});

export const simulate = {
  commands: (random: () => number) => {
    const key = `k${Math.floor(random() * 4)}`;
    return { name: random() < 0.1 ? "number" : "put", args: { key } };
  },
};
