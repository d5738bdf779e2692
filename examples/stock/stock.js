// @ts-check
import { defineService, table } from "synod";

/**
 * Warehouses and orders. An order is for one warehouse, and takes from others what that one lacks: usually nothing. So its command says
 * that it may touch all of them and is `likely` to touch one: a cluster with groups and `--execution opt-psmr` then executes orders for
 * different warehouses at once, and those that need others alone. Elsewhere nothing comes of `likely`.
 *
 * What belongs to a warehouse stands under its name in all tables: entries of one key are of one group.
 */
export const stock = defineService({
  module: import.meta.url,
  name: "stock",
  tables: {
    /** Pieces that are there, by warehouse. */
    there: /** @type {import("synod").TableDefinition<number>} */ (table()),
    /** Pieces sent to customers so far. */
    sent: /** @type {import("synod").TableDefinition<number>} */ (table()),
    /** Pieces ordered of it and sent, from here or elsewhere. */
    ordered: /** @type {import("synod").TableDefinition<number>} */ (table()),
    /** Pieces that came in so far. */
    supplied: /** @type {import("synod").TableDefinition<number>} */ (table()),
  },
  commands: {
    /** Puts pieces into a warehouse; returns how many are there. */
    supply: {
      keys: (/** @type {{ warehouse: string; pieces: number }} */ a) => [a.warehouse],
      execute: ({ there, supplied }, { warehouse, pieces }) => {
        checkPieces(pieces);
        const now = (there.get(warehouse) ?? 0) + pieces;
        there.set(warehouse, now);
        supplied.set(warehouse, (supplied.get(warehouse) ?? 0) + pieces);
        return now;
      },
    },

    /** Sends pieces to a customer, all of them or none; returns from how many warehouses. */
    order: {
      keys: (/** @type {{ warehouse: string; others: string[]; pieces: number }} */ a) => [a.warehouse, ...a.others],
      likely: (a) => [a.warehouse],
      execute: ({ there, sent, ordered }, { warehouse, others, pieces }) => {
        checkPieces(pieces);
        let missing = pieces;
        let used = 0;
        for (const one of [warehouse, ...others]) {
          const taken = Math.min(missing, there.get(one) ?? 0);
          if (taken === 0) continue;
          there.set(one, (there.get(one) ?? 0) - taken);
          sent.set(one, (sent.get(one) ?? 0) + taken);
          missing -= taken;
          used++;
          if (missing === 0) break;
        }
        // What other warehouses have given a moment ago is taken back.
        if (missing > 0) throw new Error(`${missing} of ${pieces} pieces are missing`);
        ordered.set(warehouse, (ordered.get(warehouse) ?? 0) + pieces);
        return used;
      },
    },

    /** Brings what is left in a warehouse, if it is little, to the first other one that has any; returns how many pieces. */
    tidy: {
      // Which one that is shows only in the tables, so that any may be touched.
      keys: "all",
      likely: (/** @type {{ warehouse: string }} */ a) => [a.warehouse],
      // Says beforehand whether there is anything to do, so that the command is not begun in vain beside others.
      check: ({ there }, { warehouse }) => !isLittle(there.get(warehouse)),
      execute: ({ there }, { warehouse }) => {
        const pieces = there.get(warehouse) ?? 0;
        if (!isLittle(pieces)) return 0;
        for (const [other, here] of there.range()) {
          if (other === warehouse || here === 0) continue;
          there.set(warehouse, 0);
          there.set(other, here + pieces);
          return pieces;
        }
        return 0;
      },
    },

    /** Pieces in a warehouse. */
    pieces: {
      read: true,
      keys: (/** @type {{ warehouse: string }} */ a) => [a.warehouse],
      execute: ({ there }, { warehouse }) => there.get(warehouse) ?? 0,
    },

    /** All there is and was. */
    totals: {
      reads: "all",
      partial: (tables) => {
        const sums = { there: 0, sent: 0, ordered: 0, supplied: 0 };
        for (const [, pieces] of tables.there.range()) sums.there += pieces;
        for (const [, pieces] of tables.sent.range()) sums.sent += pieces;
        for (const [, pieces] of tables.ordered.range()) sums.ordered += pieces;
        for (const [, pieces] of tables.supplied.range()) sums.supplied += pieces;
        return sums;
      },
      combine: (/** @type {Totals[]} */ parts) => {
        const sums = { there: 0, sent: 0, ordered: 0, supplied: 0 };
        for (const part of parts) {
          sums.there += part.there;
          sums.sent += part.sent;
          sums.ordered += part.ordered;
          sums.supplied += part.supplied;
        }
        return sums;
      },
    },
  },
});

/**
 * The load for `synod sim --service ./examples/stock/stock.js --groups 2 --execution opt-psmr`, and what must hold when it is over: pieces are
 * there or were sent, and as many were sent as were ordered.
 * @type {import("synod").Simulation}
 */
export const simulate = {
  commands: (random) => {
    const one = () => WAREHOUSES[Math.floor(random() * 4)];
    const pieces = 1 + Math.floor(random() * 6);
    const dice = random();
    // As much comes in as goes out, so that an order often has to look further.
    if (dice < 0.4) return { name: "supply", args: { warehouse: one(), pieces } };
    if (dice < 0.8) return { name: "order", args: { warehouse: one(), others: [one(), one()], pieces } };
    if (dice < 0.9) return { name: "tidy", args: { warehouse: one() } };
    return random() < 0.7 ? { name: "pieces", args: { warehouse: one() } } : { name: "totals" };
  },
  final: () => [{ name: "totals" }],
  check: (operations) => {
    const totals = /** @type {Totals} */ (operations.at(-1)?.result);
    if (totals.there + totals.sent !== totals.supplied || totals.sent !== totals.ordered)
      throw new Error(`pieces were lost or made: ${JSON.stringify(totals)}`);
    for (const [name, total] of /** @type {const} */ ([
      ["order", totals.sent],
      ["supply", totals.supplied],
    ])) {
      let least = 0;
      let most = 0;
      for (const operation of operations) {
        if (operation.name !== name) continue;
        const { pieces } = /** @type {{ pieces: number }} */ (operation.args);
        if (operation.outcome === "ok") least += pieces;
        // Of the others some may have been done.
        if (operation.outcome === "ok" || operation.outcome === "unknown") most += pieces;
      }
      if (total < least || total > most) throw new Error(`${name}: ${total} pieces instead of ${least} to ${most}`);
    }
  },
};

const WAREHOUSES = ["Oslo", "Rome", "Lima", "Bonn"];

/** @typedef {{ there: number; sent: number; ordered: number; supplied: number }} Totals */

/**
 * So few pieces are not worth a warehouse.
 * @param {number | undefined} pieces
 */
function isLittle(pieces = 0) {
  return pieces >= 1 && pieces <= 3;
}

/** @param {number} pieces */
function checkPieces(pieces) {
  if (!Number.isSafeInteger(pieces) || pieces < 1) throw new Error("one sends and supplies at least one piece");
}
