import { defineService, type Simulation, table } from "synod";

/** A service whose own check finds fault with it: it counts what it was told not to. */
export const objecting = defineService({
  module: import.meta.url,
  name: "objecting",
  tables: { sums: table<number>() },
  commands: {
    add: {
      keys: (_a: { amount: number }) => ["sum"],
      execute: ({ sums }, a) => {
        sums.set("sum", (sums.get("sum") ?? 0) + a.amount);
        if (a.amount < 0) throw new Error("an amount is at least 0");
      },
    },
    sum: { read: true, keys: () => ["sum"], execute: ({ sums }) => sums.get("sum") ?? 0 },
  },
});

export const simulate: Simulation = {
  commands: (random) => ({ name: "add", args: { amount: Math.floor(random() * 10) - 2 } }),
  final: () => [{ name: "sum" }],
  check: (operations) => {
    const tried = operations.filter(({ name }) => name === "add").length;
    const sum = Number(operations.at(-1)?.result);
    if (sum > tried) throw new Error(`${tried} additions made ${sum}`);
  },
};
