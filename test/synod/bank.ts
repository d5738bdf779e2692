import { defineService, table } from "synod";

/** A service of the tests, in a module of its own, so that replicas can load it. */
export const bank = defineService({
  module: import.meta.url,
  name: "bank",
  tables: { accounts: table<number>() },
  commands: {
    deposit: {
      keys: (a: { to: string; amount: number }) => [a.to],
      execute: ({ accounts }, a) => {
        const balance = (accounts.get(a.to) ?? 0) + a.amount;
        accounts.set(a.to, balance);
        return balance;
      },
    },
    transfer: {
      keys: (a: { from: string; to: string; amount: number }) => [a.from, a.to],
      execute: ({ accounts }, a) => {
        accounts.set(a.to, (accounts.get(a.to) ?? 0) + a.amount);
        const left = (accounts.get(a.from) ?? 0) - a.amount;
        if (left < 0) throw new RangeError(`${a.from} lacks ${-left}`);
        accounts.set(a.from, left);
      },
    },
    balance: {
      read: true,
      keys: (a: { of: string }) => [a.of],
      execute: ({ accounts }, a) => accounts.get(a.of) ?? 0,
    },
    total: {
      reads: "all",
      partial: ({ accounts }) => {
        let sum = 0;
        for (const [, balance] of accounts.range()) sum += balance;
        return sum;
      },
      combine: (sums: number[]) => sums.reduce((a, b) => a + b, 0),
    },
    peek: { read: true, keys: () => ["a"], execute: ({ accounts }) => accounts.get("b") ?? 0 },
    clock: { keys: () => [], execute: () => Date.now() },
    moment: { keys: () => [], execute: (_tables, _args, ctx) => [ctx.time, ctx.random()] },
  },
});
