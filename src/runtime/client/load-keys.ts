// Hot file: one key per command. No allocation, no power, no logarithm: `npm run bench -- load` says what a key costs.
import { mix32, type Prng } from "../../base/index.js";

/**
 * How keys are chosen:
 *
 * - `uniform`: all alike.
 * - `zipfian`: YCSB's scrambled Zipfian distribution. Popularity falls with a popularity rank r as (r + 1)^-0.99 over ten
 *   billion ranks, and a hash scatters the ranks over the keys, so that popular keys are nowhere near each other. The most
 *   popular key draws about 3.8 % of the commands, however many keys there are.
 * - `latest`: the same law over the keys themselves in the order of their insertion, the newest first.
 */
export type KeyDistribution = "uniform" | "zipfian" | "latest";

/**
 * A key by number: below 2^32 one of those written before the load began, in their order; from there on one that a client
 * has inserted since.
 */
export type LoadKey = number;

const CLIENT_STEP = 4_294_967_296;

/** The key that `client` inserts as its `count`th, both from 0. */
export const insertedKey = (client: number, count: number): LoadKey => (client + 1) * CLIENT_STEP + count;
export const isInserted = (key: LoadKey): boolean => key >= CLIENT_STEP;
export const insertedBy = (key: LoadKey): number => Math.floor(key / CLIENT_STEP) - 1;
export const insertedCount = (key: LoadKey): number => key >>> 0;

export interface KeyChooser {
  next(): LoadKey;
}

/** YCSB's exponent of the Zipfian law. */
const EXPONENT = 0.99;
/** The sum of the law over ranks 0 and 1. */
const FIRST_TWO = 1 + 0.5 ** EXPONENT;
/** Ranks of the scrambled distribution, whatever the number of keys. */
const SCRAMBLED_RANKS = 1e10;
/** Up to here the zeta sum is added up; the rest follows from its integral. */
const SUMMED_MAX = 1024;

const summed = ((): number => {
  let sum = 0;
  for (let i = SUMMED_MAX; i >= 1; i--) sum += i ** -EXPONENT;
  return sum;
})();

/** The sum of i^-0.99 for i = 1 to `count`, relative error below 1e-12, in constant time above 1024. */
export function zeta(count: number): number {
  if (count <= SUMMED_MAX) {
    let sum = 0;
    for (let i = count; i >= 1; i--) sum += i ** -EXPONENT;
    return sum;
  }
  // Euler and Maclaurin: integral, half the difference of the ends, a twelfth of the difference of the slopes there.
  const integral = (count ** (1 - EXPONENT) - SUMMED_MAX ** (1 - EXPONENT)) / (1 - EXPONENT);
  const ends = (count ** -EXPONENT - SUMMED_MAX ** -EXPONENT) / 2;
  const slopes = (-EXPONENT * (count ** (-EXPONENT - 1) - SUMMED_MAX ** (-EXPONENT - 1))) / 12;
  return summed + integral + ends + slopes;
}

/**
 * Ranks from 0, popularity falling as (rank + 1)^-0.99: the method of Gray et al., "Quickly Generating Billion-Record Synthetic
 * Databases" (1994), section 3, which is YCSB's too. Ranks 0 and 1 get their exact probability; the others come from
 * inverting the integral of the law, which is off by a few per cent for the next ones and by nothing to speak of further on.
 */
export class ZipfianRanks {
  readonly #prng: Prng;
  #count = 0;
  #zeta = 0;
  #eta = 0;

  constructor(prng: Prng, count: number) {
    this.#prng = prng;
    this.resize(count);
  }

  /** Continues over another number of ranks. Constant time. */
  resize(count: number): void {
    if (count === this.#count) return;
    this.#count = count;
    this.#zeta = zeta(count);
    this.#eta = count <= 2 ? 0 : (1 - (2 / count) ** (1 - EXPONENT)) / (1 - FIRST_TWO / this.#zeta);
  }

  next(): number {
    // 32 random bits: of ten billion ranks those far out are drawn in steps of some tens, which their hash hides.
    const u = this.#prng.float();
    const mass = u * this.#zeta;
    if (mass < 1) return 0;
    if (mass < FIRST_TWO) return Math.min(1, this.#count - 1);
    const x = this.#eta * (u - 1) + 1;
    // To the power of 1 / (1 - 0.99) = 100 = 64 + 32 + 4, by squaring.
    const x2 = x * x;
    const x4 = x2 * x2;
    const x8 = x4 * x4;
    const x16 = x8 * x8;
    const x32 = x16 * x16;
    return Math.min(this.#count - 1, Math.floor(this.#count * (x32 * x32 * x32 * x4)));
  }
}

/** The loaded key that a popularity rank falls on: fixed, and no pattern to see in it. */
export function scatter(rank: number, keys: number): LoadKey {
  const high = Math.floor(rank / CLIENT_STEP);
  return Math.floor(((mix32(rank ^ mix32(high ^ 0x9e3779b9)) >>> 0) / CLIENT_STEP) * keys);
}

class UniformKeys implements KeyChooser {
  readonly #prng: Prng;
  readonly #keys: number;

  constructor(prng: Prng, keys: number) {
    this.#prng = prng;
    this.#keys = keys;
  }

  next(): LoadKey {
    return this.#prng.below(this.#keys);
  }
}

class ScrambledZipfianKeys implements KeyChooser {
  readonly #ranks: ZipfianRanks;
  readonly #keys: number;

  constructor(prng: Prng, keys: number) {
    this.#ranks = new ZipfianRanks(prng, SCRAMBLED_RANKS);
    this.#keys = keys;
  }

  next(): LoadKey {
    return scatter(this.#ranks.next(), this.#keys);
  }
}

/** What the clients of a load have inserted and seen acknowledged. */
export class InsertedKeys {
  /** Insertions of each client that are acknowledged: its first ones, since a session's commands take effect in order. */
  readonly acknowledged: Float64Array;
  total = 0;

  constructor(clients: number) {
    this.acknowledged = new Float64Array(clients);
  }

  acknowledge(client: number, through: number): void {
    const before = this.acknowledged[client] as number;
    if (through <= before) return;
    this.acknowledged[client] = through;
    this.total += through - before;
  }

  /**
   * The key `age` insertions back from the newest, 0 being that. Insertions of all clients count as taking turns, which
   * is their order to within how far one client is ahead of another. `age` is below `total`.
   */
  at(age: number): LoadKey {
    const { acknowledged } = this;
    const clients = acknowledged.length;
    let client = age % clients;
    const back = Math.floor(age / clients);
    for (let i = 0; i < clients; i++) {
      const count = acknowledged[client] as number;
      if (back < count) return insertedKey(client, count - 1 - back);
      client = client + 1 === clients ? 0 : client + 1;
    }
    // Nobody has inserted that many: one client is far ahead of the others, and this age falls among its first.
    client = 0;
    for (let i = 1; i < clients; i++) {
      if ((acknowledged[i] as number) > (acknowledged[client] as number)) client = i;
    }
    return insertedKey(client, 0);
  }
}

class LatestKeys implements KeyChooser {
  readonly #ranks: ZipfianRanks;
  readonly #keys: number;
  readonly #inserted: InsertedKeys;

  constructor(prng: Prng, keys: number, inserted: InsertedKeys) {
    this.#ranks = new ZipfianRanks(prng, keys);
    this.#keys = keys;
    this.#inserted = inserted;
  }

  next(): LoadKey {
    const inserted = this.#inserted;
    this.#ranks.resize(this.#keys + inserted.total);
    const age = this.#ranks.next();
    return age < inserted.total ? inserted.at(age) : this.#keys - 1 - (age - inserted.total);
  }
}

/** Chooses among `keys` loaded keys and, if the distribution is `latest`, those inserted since. */
export function createKeyChooser(
  distribution: KeyDistribution,
  prng: Prng,
  keys: number,
  inserted: InsertedKeys,
): KeyChooser {
  if (distribution === "zipfian") return new ScrambledZipfianKeys(prng, keys);
  if (distribution === "latest") return new LatestKeys(prng, keys, inserted);
  return new UniformKeys(prng, keys);
}
