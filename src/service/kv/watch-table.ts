import { assert, hashBytes, hashText, latin1, mix32, type ByteWriter } from "../../base/index.js";
import { CheckpointDamagedError, type Digest, type UndoLog } from "../../model/index.js";
import { KEY_BYTES_MAX } from "./command.js";

/** Keys of all watches together; beyond it the oldest watches break. */
export const WATCHED_KEYS_MAX = 65_536;
/** Bytes of these keys; beyond it the oldest watches break. */
export const WATCHED_BYTES_MAX = 16 * 1024 * 1024;

/** A power of two. */
const FILTER_SLOTS = 16_384;
const SEED = 0x77a7c4;

/** What one connection watches. Keys are one character a byte. */
export interface Watch {
  readonly id: number;
  readonly keys: Set<string>;
}

/** What commands that change keys ask of the watches. */
export interface Watching {
  /** Keys of all watches, 0 if there are none. */
  readonly keys: number;
  /** The key `bytes[start, end)` changes: watches of it break. */
  touch(bytes: Uint8Array, start: number, end: number, undo: UndoLog | null): void;
}

/** Who wants to know which keys are watched at all. */
export interface WatchFollower {
  watched(key: string): void;
  forgotten(key: string): void;
}

/** A change, as it is taken back. */
type Record =
  | { readonly kind: "added"; readonly watch: Watch; readonly keys: readonly string[] }
  | { readonly kind: "removed"; readonly watch: Watch }
  | { readonly kind: "created" };

/**
 * The watches of WATCH, part of the replicated state: what is not in the table is broken, so a watch of whose keys one
 * changes is simply removed. The table is bounded by removing the oldest watches, whose transactions then fail although
 * nothing changed; a watch whose connection was lost goes that way too.
 *
 * `touch` stands on the path of every write. It costs a comparison as long as nothing is watched, and a hash of the key and
 * a look into a filter as long as this key is not.
 */
export class WatchTable implements Watching {
  /** By id, in ascending order, which is that of age. */
  #watches = new Map<number, Watch>();
  readonly #byKey = new Map<string, Set<Watch>>();
  /** How many watched keys have each value of the last bits of their hash. Made with the first one. */
  #filter: Uint32Array | null = null;
  /** Sums of a hash of each (id, key), as signed 32-bit integers. */
  readonly #lanes = new Int32Array(4);
  #next = 1;
  #bytes = 0;
  /** Keys of all watches. */
  keys = 0;

  #follower: WatchFollower | null = null;

  /** The follower is told of all keys now, and of each that is watched first or last from now on. */
  follow(follower: WatchFollower | null): void {
    this.#follower = follower;
    if (follower !== null) for (const key of this.#byKey.keys()) follower.watched(key);
  }

  /** The watch if it is not broken. */
  get(id: number): Watch | undefined {
    return this.#watches.get(id);
  }

  /**
   * Adds keys to a watch, or to a new one for id 0, and returns its id. A broken watch stays broken, and ids that were never
   * given are broken.
   */
  add(id: number, keys: readonly string[], undo: UndoLog | null): number {
    let watch = this.#watches.get(id);
    if (watch === undefined) {
      if (id !== 0) return id;
      watch = { id: this.#next++, keys: new Set() };
      this.#watches.set(watch.id, watch);
      undo?.push({ kind: "created" } satisfies Record);
    }
    const added: string[] = [];
    for (const key of keys) {
      if (watch.keys.has(key)) continue;
      watch.keys.add(key);
      added.push(key);
      this.#link(watch, key);
    }
    if (undo !== null && added.length > 0) undo.push({ kind: "added", watch, keys: added } satisfies Record);
    while (this.keys > WATCHED_KEYS_MAX || this.#bytes > WATCHED_BYTES_MAX) {
      const [oldest] = this.#watches.values();
      assert(oldest !== undefined, "watched keys belong to watches");
      this.remove(oldest, undo);
    }
    return watch.id;
  }

  remove(watch: Watch, undo: UndoLog | null): void {
    this.#watches.delete(watch.id);
    for (const key of watch.keys) this.#unlink(watch, key);
    undo?.push({ kind: "removed", watch } satisfies Record);
  }

  /** The key `bytes[start, end)` changes: watches of it break. */
  touch(bytes: Uint8Array, start: number, end: number, undo: UndoLog | null): void {
    const filter = this.#filter;
    if (filter === null || filter[hashBytes(bytes, start, end, SEED) & (FILTER_SLOTS - 1)] === 0) return;
    this.touchKey(latin1(bytes, start, end), undo);
  }

  /** The same for a key as text. */
  touchKey(key: string, undo: UndoLog | null): void {
    const watches = this.#byKey.get(key);
    if (watches === undefined) return;
    // In the order of their ids, so that every replica has the same records.
    for (const watch of [...watches].sort((a, b) => a.id - b.id)) this.remove(watch, undo);
  }

  /** All watches of a key that `exists` finds break: the whole store is emptied. */
  touchAll(exists: (key: string) => boolean, undo: UndoLog | null): void {
    // Removal during the walk is safe: a map's iterator goes on with what is left.
    for (const watch of this.#watches.values()) {
      for (const key of watch.keys) {
        if (!exists(key)) continue;
        this.remove(watch, undo);
        break;
      }
    }
  }

  /** Takes back what was recorded since `mark`, newest first. */
  rollback(undo: UndoLog, mark: number): void {
    while (undo.mark() > mark) {
      const record = undo.pop() as Record;
      switch (record.kind) {
        case "created":
          this.#next--;
          break;
        case "added": {
          const { watch, keys } = record;
          for (const key of keys) {
            watch.keys.delete(key);
            this.#unlink(watch, key);
          }
          if (watch.keys.size === 0) this.#watches.delete(watch.id);
          break;
        }
        default: {
          const { watch } = record;
          this.#watches.set(watch.id, watch);
          for (const key of watch.keys) this.#link(watch, key);
          this.#watches = new Map([...this.#watches].sort(([a], [b]) => a - b));
        }
      }
    }
  }

  /** Mixes the table into a digest. */
  mixInto(digest: Digest): void {
    const next = mix32((this.#next >>> 0) ^ Math.imul(Math.floor(this.#next / 4294967296), 0x9e3779b1));
    for (let i = 0; i < 4; i++) {
      digest[i] = mix32((digest[i] as number) + mix32(((this.#lanes[i] as number) + next) ^ i));
    }
  }

  /** Appends the table: `f64 next id`, `u32 watches`, per watch `f64 id`, `u32 keys`, per key `u32 length` and its bytes. */
  write(writer: ByteWriter): void {
    writer.f64(this.#next);
    writer.u32(this.#watches.size);
    for (const { id, keys } of this.#watches.values()) {
      writer.f64(id);
      writer.u32(keys.size);
      // Sorted: the order in which keys were added is nobody's business.
      for (const key of [...keys].sort()) {
        writer.u32(key.length);
        writer.latin1(key);
      }
    }
  }

  /** Reads what `write` wrote from `bytes[start, end)`. Throws `CheckpointDamagedError`. */
  static read(bytes: Uint8Array, view: DataView, start: number, end: number): WatchTable {
    const table = new WatchTable();
    let at = start;
    const need = (count: number): number => {
      if (count > end - at) throw damaged("the table ends early");
      at += count;
      return at - count;
    };
    table.#next = view.getFloat64(need(8), true);
    if (!(Number.isSafeInteger(table.#next) && table.#next >= 1)) throw damaged(`the next id is ${table.#next}`);
    let last = 0;
    for (let left = view.getUint32(need(4), true); left > 0; left--) {
      const id = view.getFloat64(need(8), true);
      if (!(Number.isSafeInteger(id) && id > last && id < table.#next)) throw damaged(`an id is ${id}`);
      last = id;
      const watch: Watch = { id, keys: new Set() };
      table.#watches.set(id, watch);
      const count = view.getUint32(need(4), true);
      if (count === 0) throw damaged("a watch has no keys");
      for (let k = 0; k < count; k++) {
        const length = view.getUint32(need(4), true);
        if (length > KEY_BYTES_MAX) throw damaged(`a key has ${length} bytes`);
        const from = need(length);
        const key = latin1(bytes, from, at);
        if (watch.keys.has(key)) throw damaged("a watch has a key twice");
        watch.keys.add(key);
        table.#link(watch, key);
      }
      if (table.keys > WATCHED_KEYS_MAX || table.#bytes > WATCHED_BYTES_MAX) throw damaged("there are too many keys");
    }
    if (at !== end) throw damaged("bytes follow the last watch");
    return table;
  }

  #link(watch: Watch, key: string): void {
    const watches = this.#byKey.get(key);
    if (watches === undefined) {
      this.#byKey.set(key, new Set([watch]));
      this.#follower?.watched(key);
    } else watches.add(watch);
    this.#count(watch, key, 1);
  }

  #unlink(watch: Watch, key: string): void {
    const watches = this.#byKey.get(key);
    assert(watches?.delete(watch) === true, "the index of watched keys names every watch");
    if (watches.size === 0) {
      this.#byKey.delete(key);
      this.#follower?.forgotten(key);
    }
    this.#count(watch, key, -1);
  }

  #count(watch: Watch, key: string, sign: 1 | -1): void {
    this.keys += sign;
    this.#bytes += sign * key.length;
    const slot = hashText(key, SEED) & (FILTER_SLOTS - 1);
    const filter = (this.#filter ??= new Uint32Array(FILTER_SLOTS));
    filter[slot] = (filter[slot] as number) + sign;
    const first = hashText(key, watch.id | 0);
    const second = hashText(key, Math.floor(watch.id / 4294967296) ^ ~watch.id);
    const lanes = this.#lanes;
    lanes[0] = (lanes[0] as number) + sign * first;
    lanes[1] = (lanes[1] as number) + sign * second;
    lanes[2] = (lanes[2] as number) + sign * mix32(first ^ second);
    lanes[3] = (lanes[3] as number) + sign * mix32(first + Math.imul(second, 0x85ebca6b));
  }
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the snapshot of the watches is damaged: ${reason}`);
}
