/** A service whose module describes a load of commands that it does not have. */
import { defineService, table } from "synod";

export const account = defineService({
  module: import.meta.url,
  name: "account",
  tables: { balance: table<number>() },
  commands: {
    withdrawal: {
      keys: (_a: { amount: number }) => ["account"],
      execute: ({ balance }, a) => {
        balance.set("account", (balance.get("account") ?? 0) - a.amount);
      },
    },
  },
});

export const simulate = { commands: () => ({ name: "withdrawl" }) };
