// @ts-check
import { defineService, table } from "synod";

/**
 * Locks with leases, a queue and fencing tokens.
 *
 * A holder keeps a lock for `leaseMs` of agreed time at a time and renews it; who dies loses it. Who waits asks again and
 * keeps its place in the queue while it does. A holder that was slow may believe that it still has a lock: so each grant has
 * a token larger than all before, and whatever the lock protects refuses tokens smaller than one it has seen.
 */
export const lock = defineService({
  module: import.meta.url,
  name: "lock",
  tables: { locks: /** @type {import("synod").TableDefinition<Lock>} */ (table()) },
  commands: {
    /** Asks for a lock. Granted at once, or the caller is put in the queue and asks again in a while. */
    acquire: {
      keys: (/** @type {{ name: string; owner: string; leaseMs: number }} */ a) => [a.name],
      execute: ({ locks }, { name, owner, leaseMs }, ctx) => {
        checkLease(leaseMs);
        const { token, holder, waiting } = current(locks.get(name), ctx.time);
        if (holder?.owner === owner) return { granted: true, token, ahead: 0 };
        const queue = waiting.filter((waiter) => waiter.owner !== owner);
        const place = waiting.findIndex((waiter) => waiter.owner === owner);
        const self = { owner, until: ctx.time + leaseMs };
        if (holder === null && (place === 0 || waiting.length === 0)) {
          locks.set(name, { token: token + 1, holder: self, waiting: queue });
          return { granted: true, token: token + 1, ahead: 0 };
        }
        if (place === -1 && waiting.length >= WAITING_MAX) throw new Error(`${WAITING_MAX} already wait for ${name}`);
        const at = place === -1 ? waiting.length : place;
        queue.splice(at, 0, self);
        locks.set(name, { token, holder, waiting: queue });
        return { granted: false, token: 0, ahead: at + (holder === null ? 0 : 1) };
      },
    },

    /** Keeps a lock for another `leaseMs`. False if the caller does not hold it any more. */
    renew: {
      keys: (/** @type {{ name: string; token: number; leaseMs: number }} */ a) => [a.name],
      execute: ({ locks }, { name, token, leaseMs }, ctx) => {
        checkLease(leaseMs);
        const { holder, ...rest } = current(locks.get(name), ctx.time);
        if (holder === null || rest.token !== token) return false;
        locks.set(name, { ...rest, holder: { ...holder, until: ctx.time + leaseMs } });
        return true;
      },
    },

    /** Gives a lock back. False if the caller did not hold it any more. */
    release: {
      keys: (/** @type {{ name: string; token: number }} */ a) => [a.name],
      execute: ({ locks }, { name, token }, ctx) => {
        const { holder, ...rest } = current(locks.get(name), ctx.time);
        if (holder === null || rest.token !== token) return false;
        // The entry stays, with its token: the next grant must have a larger one.
        locks.set(name, { ...rest, holder: null });
        return true;
      },
    },

    /** Who holds a lock now, or null. */
    holder: {
      read: true,
      keys: (/** @type {{ name: string }} */ a) => [a.name],
      execute: ({ locks }, { name }, ctx) => current(locks.get(name), ctx.time).holder?.owner ?? null,
    },
  },
});

/**
 * The load for `synod sim --service ./examples/lock/lock.js`, and what must hold: no token of a lock is given to two owners.
 * @type {import("synod").Simulation}
 */
export const simulate = {
  commands: (random, client) => {
    const name = `lock${Math.floor(random() * 2)}`;
    const dice = random();
    if (dice < 0.5)
      return { name: "acquire", args: { name, owner: client, leaseMs: 200 + Math.floor(random() * 2000) } };
    const token = 1 + Math.floor(random() * 40);
    if (dice < 0.7) return { name: "release", args: { name, token } };
    if (dice < 0.85) return { name: "renew", args: { name, token, leaseMs: 500 } };
    return { name: "holder", args: { name } };
  },
  check: (operations) => {
    /** @type {Map<string, string>} */
    const owners = new Map();
    for (const { name, args, outcome, result } of operations) {
      if (name !== "acquire" || outcome !== "ok") continue;
      const { granted, token } = /** @type {{ granted: boolean; token: number }} */ (result);
      if (!granted) continue;
      const given = /** @type {{ name: string; owner: string }} */ (args);
      const place = `${given.name} ${token}`;
      const owner = owners.get(place) ?? given.owner;
      if (owner !== given.owner) throw new Error(`${place} was given to ${owner} and to ${given.owner}`);
      owners.set(place, owner);
    }
  },
};

/**
 * @typedef {{ owner: string; until: number }} Claim A claim ends at this agreed time, in ms.
 * @typedef {{ token: number; holder: Claim | null; waiting: Claim[] }} Lock The token is that of the last grant.
 */

/** Owners that may wait for one lock. */
const WAITING_MAX = 1000;
const LEASE_MS_MAX = 60_000;

/**
 * A lock without the claims that have run out.
 * @param {Lock | undefined} stored
 * @param {number} time
 * @returns {Lock}
 */
function current(stored, time) {
  if (stored === undefined) return { token: 0, holder: null, waiting: [] };
  const { token, holder, waiting } = stored;
  return {
    token,
    holder: holder !== null && holder.until > time ? holder : null,
    waiting: waiting.filter(({ until }) => until > time),
  };
}

/** @param {number} leaseMs */
function checkLease(leaseMs) {
  if (!(leaseMs >= 1 && leaseMs <= LEASE_MS_MAX)) throw new Error(`a lease takes 1 to ${LEASE_MS_MAX} ms`);
}
