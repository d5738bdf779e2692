// @ts-check
import { args, defineService, table } from "synod";

/**
 * A bank: accounts with a balance in cents. Money moves and never appears or disappears, whoever fails.
 *
 * Each command runs on every replica. It may touch the keys that it declares, in any table, and whatever it throws undoes
 * all that it did.
 */
export const bank = defineService({
  module: import.meta.url,
  name: "bank",
  tables: {
    /** Balance in cents by account. */
    accounts: /** @type {import("synod").TableDefinition<number>} */ (table()),
    /** The last transfers of an account, newest first. */
    statements: /** @type {import("synod").TableDefinition<Movement[]>} */ (table()),
  },
  commands: {
    /** Opens an account with some money. */
    open: {
      keys: (/** @type {{ account: string; cents: number }} */ a) => [a.account],
      execute: ({ accounts }, { account, cents }) => {
        checkCents(cents, 0);
        if (accounts.has(account)) throw new Error(`account ${account} is there already`);
        accounts.set(account, cents);
      },
    },

    /** Moves money; returns what is left. */
    transfer: {
      keys: (/** @type {{ from: string; to: string; cents: number }} */ a) => [a.from, a.to],
      execute: ({ accounts, statements }, { from, to, cents }, ctx) => {
        checkCents(cents, 1);
        for (const [account, change] of /** @type {const} */ ([
          [to, cents],
          [from, -cents],
        ])) {
          const before = accounts.get(account);
          if (before === undefined) throw new Error(`there is no account ${account}`);
          // When this throws, what `to` was given a moment ago is taken back.
          if (before + change < 0) throw new Error(`account ${account} has ${before} cents, not ${cents}`);
          accounts.set(account, before + change);
          const movement = { at: ctx.time, cents: change, other: account === from ? to : from };
          statements.set(account, [movement, ...(statements.get(account) ?? [])].slice(0, STATEMENT_MAX));
        }
        return accounts.get(from) ?? 0;
      },
    },

    /** The balance, or null if there is no such account. */
    balance: {
      read: true,
      keys: (/** @type {{ account: string }} */ a) => [a.account],
      execute: ({ accounts }, { account }) => accounts.get(account) ?? null,
    },

    /** The last transfers of an account, newest first. */
    statement: {
      read: true,
      keys: (/** @type {{ account: string }} */ a) => [a.account],
      execute: ({ statements }, { account }) => statements.get(account) ?? [],
    },

    /** All the money there is. */
    total: {
      reads: "all",
      partial: ({ accounts }) => {
        let sum = 0;
        for (const [, cents] of accounts.range()) sum += cents;
        return sum;
      },
      combine: (/** @type {number[]} */ sums) => sums.reduce((a, b) => a + b, 0),
    },

    /** The accounts whose names begin with a prefix, in order. */
    accounts: {
      reads: "all",
      args: /** @type {import("synod").ArgumentType<{ prefix: string; limit: number }>} */ (args()),
      partial: ({ accounts }, { prefix, limit }) => {
        const found = [];
        for (const [account] of accounts.range(prefix, undefined, { limit })) {
          if (!account.startsWith(prefix)) break;
          found.push(account);
        }
        return found;
      },
      combine: (/** @type {string[][]} */ parts, { limit }) => parts.flat().sort().slice(0, limit),
    },
  },
});

/**
 * The load for `synod sim --service ./examples/bank/bank.js`, and what must hold when it is over: every account was opened with
 * the same amount, so there is so much money as there are accounts, however it has moved.
 * @type {import("synod").Simulation}
 */
export const simulate = {
  commands: (random) => {
    const one = () => `a${Math.floor(random() * 6)}`;
    const dice = random();
    if (dice < 0.2) return { name: "open", args: { account: one(), cents: OPENING_CENTS } };
    if (dice < 0.7) return { name: "transfer", args: { from: one(), to: one(), cents: 1 + Math.floor(random() * 40) } };
    if (dice < 0.9) return { name: "balance", args: { account: one() } };
    return { name: "total" };
  },
  final: () => [{ name: "total" }, { name: "accounts", args: { prefix: "", limit: 100 } }, { name: "total" }],
  check: (operations) => {
    const [before, accounts, total] = operations.slice(-3).map(({ result }) => result);
    const expected = /** @type {string[]} */ (accounts).length * OPENING_CENTS;
    // An account that nobody knew to be opened may have been opened in between.
    if (before === total && total !== expected) throw new Error(`there are ${String(total)} cents, not ${expected}`);
  },
};

const OPENING_CENTS = 100;

/**
 * @typedef {object} Movement
 * @property {number} at Agreed time in ms since the epoch.
 * @property {number} cents What came in, negative for what went out.
 * @property {string} other The other account.
 */

/** Movements of an account that are remembered. */
const STATEMENT_MAX = 10;

/**
 * @param {number} cents
 * @param {number} least
 */
function checkCents(cents, least) {
  if (!Number.isSafeInteger(cents) || cents < least) throw new Error(`an amount is at least ${least} whole cents`);
}
