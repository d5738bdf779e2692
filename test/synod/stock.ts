/** Orders from warehouses: most are served by the one that is asked, some by another. */
import { args, defineService, table } from "synod";

export const stock = defineService({
  module: import.meta.url,
  name: "stock",
  tables: { pieces: table<number>(), orders: table<string>() },
  commands: {
    deliver: {
      args: args<{ to: string; pieces: number }>(),
      keys: (a) => [a.to],
      execute: ({ pieces }, a) => {
        const there = (pieces.get(a.to) ?? 0) + a.pieces;
        pieces.set(a.to, there);
        return there;
      },
    },
    /** Takes a piece from the first warehouse that has one, and says which it was. */
    order: {
      args: args<{ number: number; from: string; else: string }>(),
      keys: (a) => [a.from, a.else],
      likely: (a) => [a.from],
      execute: ({ pieces, orders }, a) => {
        orders.set(a.from, `${orders.get(a.from) ?? ""}${a.number} `);
        for (const warehouse of [a.from, a.else]) {
          const there = pieces.get(warehouse) ?? 0;
          if (there === 0) continue;
          pieces.set(warehouse, there - 1);
          return warehouse;
        }
        throw new RangeError("sold out");
      },
    },
    /** Moves all that a warehouse has into another; usually it has nothing, and then no other is touched. */
    clear: {
      args: args<{ of: string; into: string }>(),
      keys: (a) => [a.of, a.into],
      likely: (a) => [a.of],
      check: ({ pieces }, a) => (pieces.get(a.of) ?? 0) === 0,
      execute: ({ pieces }, a) => {
        const there = pieces.get(a.of) ?? 0;
        if (there === 0) return 0;
        pieces.set(a.of, 0);
        pieces.set(a.into, (pieces.get(a.into) ?? 0) + there);
        return there;
      },
    },
    count: {
      args: args<{ of: string }>(),
      keys: (a) => [a.of],
      read: true,
      execute: ({ pieces }, a) => pieces.get(a.of) ?? 0,
    },
    ordered: {
      args: args<{ of: string }>(),
      keys: (a) => [a.of],
      read: true,
      execute: ({ orders }, a) => orders.get(a.of) ?? "",
    },
  },
});
