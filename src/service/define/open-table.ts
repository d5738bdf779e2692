// Hot file: every access of a user's command to a table passes here. Watched by bench/define.mjs.
import { ByteWriter, encodeUtf8, Prng } from "../../base/index.js";
import type { UndoLog } from "../../model/index.js";
import { TABLE_KEY_BYTES_MAX, TABLE_VALUE_BYTES_MAX } from "./command.js";
import type { CommandContext, RangeOptions, Table } from "./definition.js";
import { ServiceError, UndeclaredKeyError, ValueError } from "./errors.js";
import { type ValueReader, writeValue } from "./message-pack.js";
import type { TableStore } from "./store.js";

/** What the command that runs may touch. Between commands nothing: handles that a service keeps are dead. */
export class Scope implements CommandContext {
  /** The command that runs, for messages; null between commands. */
  label: string | null = null;
  /** The keys declared; null for all. */
  keys: readonly string[] | null = null;
  writes = false;
  undo: UndoLog | null = null;
  /** Entries that the commands of the present run have ranged over. */
  visited = 0;
  #time = 0;
  #seed = 0;
  #random: Prng | null = null;

  open(label: string, keys: readonly string[] | null, writes: boolean, undo: UndoLog | null): void {
    this.label = label;
    this.keys = keys;
    this.writes = writes;
    this.undo = undo;
  }

  /** The agreed time and seed of the command that begins. */
  begin(time: number, seed: number): void {
    this.#time = time;
    this.#seed = seed;
    this.#random = null;
  }

  close(): void {
    this.label = null;
    this.keys = null;
    this.writes = false;
    this.undo = null;
  }

  get time(): number {
    if (this.label === null) throw outside("ctx.time");
    return this.#time;
  }

  random(): number {
    if (this.label === null) throw outside("ctx.random()");
    this.#random ??= new Prng(this.#seed);
    return this.#random.float();
  }
}

/** A table as commands see it. Values cross here as bytes, so no two holders ever share an object. */
export class OpenTable implements Table<unknown> {
  readonly #name: string;
  readonly #number: number;
  readonly #scope: Scope;
  readonly #store: TableStore;
  readonly #reader: ValueReader;
  readonly #writer = new ByteWriter(256, 2 * TABLE_VALUE_BYTES_MAX);

  constructor(name: string, number: number, scope: Scope, store: TableStore, reader: ValueReader) {
    this.#name = name;
    this.#number = number;
    this.#scope = scope;
    this.#store = store;
    this.#reader = reader;
    Object.freeze(this);
  }

  get(key: string): unknown {
    this.#allow(key);
    return this.#store.find(this.#number, key) ? this.#value() : undefined;
  }

  has(key: string): boolean {
    this.#allow(key);
    return this.#store.has(this.#number, key);
  }

  set(key: string, value: unknown): void {
    this.#allow(key);
    this.#allowWrite(key);
    if (value === undefined) throw new ValueError(`table ${this.#name}, key ${quoted(key)}: undefined is no value`);
    const writer = this.#writer;
    writer.clear();
    writeValue(writer, value);
    if (writer.length > TABLE_VALUE_BYTES_MAX) {
      throw new ValueError(
        `table ${this.#name}, key ${quoted(key)}: the value has ${writer.length} bytes, at most ${TABLE_VALUE_BYTES_MAX} are allowed`,
      );
    }
    this.#store.put(this.#number, key, writer.bytes, 0, writer.length, this.#scope.undo);
  }

  delete(key: string): boolean {
    this.#allow(key);
    this.#allowWrite(key);
    return this.#store.remove(this.#number, key, this.#scope.undo);
  }

  *range(from?: string, to?: string, options: RangeOptions = {}): Generator<[key: string, value: unknown], undefined> {
    const { limit = Infinity, reverse = false } = options;
    if (typeof limit !== "number" || !(limit >= 0))
      throw new ValueError(`the limit of a range is at least 0, got ${limit}`);
    if (from !== undefined) checkKey(this.#name, from);
    if (to !== undefined) checkKey(this.#name, to);
    let left = limit;
    let last: string | null = null;
    // Each step looks for its key anew, so that whatever the command changes meanwhile can't lead it astray.
    while (left-- > 0) {
      this.#allowAll();
      const key: string | null = reverse
        ? this.#store.descend(this.#number, last ?? to ?? null)
        : this.#store.ascend(this.#number, last ?? from ?? "", last !== null);
      if (key === null) return;
      if (reverse ? from !== undefined && precedes(key, from) : to !== undefined && !precedes(key, to)) return;
      this.#scope.visited++;
      yield [key, this.#value()];
      last = key;
    }
  }

  #value(): unknown {
    const { bytes, view, length } = this.#store.value;
    return this.#reader.read(bytes, view, 0, length);
  }

  #allow(key: string): void {
    const { label, keys } = this.#scope;
    if (label === null) throw outside(`table ${this.#name}`);
    if (typeof key !== "string") throw new ValueError(`table ${this.#name}: a key is text, got a ${typeof key}`);
    if (keys === null) checkKey(this.#name, key);
    // Declared keys were checked when they were declared.
    else if (!keys.includes(key)) {
      throw new UndeclaredKeyError(
        `${label}: it touched key ${quoted(key)} of table ${this.#name}, which its keys do not declare`,
      );
    }
  }

  #allowWrite(key: string): void {
    if (this.#scope.writes) return;
    throw new UndeclaredKeyError(
      `${this.#scope.label}: it wrote key ${quoted(key)} of table ${this.#name}, and it is declared to only read`,
    );
  }

  #allowAll(): void {
    const { label, keys } = this.#scope;
    if (label === null) throw outside(`table ${this.#name}`);
    if (keys === null) return;
    throw new UndeclaredKeyError(
      `${label}: it ranged over table ${this.#name}, which takes keys: "all" (or reads: "all")`,
    );
  }
}

/** Throws `ValueError` unless a key can be stored: well-formed text of at most `TABLE_KEY_BYTES_MAX` bytes. */
export function checkKey(table: string, key: string): void {
  if (3 * key.length > TABLE_KEY_BYTES_MAX && encodeUtf8(key).length > TABLE_KEY_BYTES_MAX) {
    throw new ValueError(`${table}: a key has at most ${TABLE_KEY_BYTES_MAX} bytes, got ${encodeUtf8(key).length}`);
  }
  // A lone surrogate has no UTF-8: two different keys would become one.
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i);
    if (unit < 0xd800 || unit > 0xdfff) continue;
    const next = i + 1 < key.length ? key.charCodeAt(i + 1) : 0;
    if (unit > 0xdbff || next < 0xdc00 || next > 0xdfff) {
      throw new ValueError(`${table}: key ${quoted(key)} is no well-formed text`);
    }
    i++;
  }
}

/**
 * True if key `a` comes before `b` in the order of UTF-8 bytes. That is the order of code points, which text compared by
 * its 16-bit units has too, except that surrogates come behind U+E000 to U+FFFF.
 */
function precedes(a: string, b: string): boolean {
  const count = Math.min(a.length, b.length);
  for (let i = 0; i < count; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) < rank(y);
  }
  return a.length < b.length;
}

function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

const QUOTED_CHARACTERS_MAX = 80;

function quoted(key: string): string {
  return JSON.stringify(key.length > QUOTED_CHARACTERS_MAX ? `${key.slice(0, QUOTED_CHARACTERS_MAX)}…` : key);
}

function outside(what: string): ServiceError {
  return new ServiceError(`${what} was used while no command runs; take it as it is given to each command`);
}
