import { assert } from "../../base/index.js";
import type { UndoLog } from "../../model/index.js";
import type { Contents } from "./contents.js";
import { NO_REGION, Region } from "./region.js";

/** What a change finds when it is taken back: where the entries are, and how to put others in their place. */
export interface Changeable {
  contents: Contents;
}

const Kind = { add: 0, remove: 1, replace: 2, write: 3, expiry: 4, clear: 5 } as const;
type Kind = (typeof Kind)[keyof typeof Kind];

/**
 * What takes one change of a store back: one record of the undo log. It names its entry by key, since numbers of entries are
 * given anew to entries that come back. Several stores, and their owner, may share a log: whoever rolls it back calls
 * `takeBack` of each record, newest first.
 */
export class Change {
  readonly #store: Changeable;
  readonly #kind: Kind;
  readonly #key: Region;
  /** The value before, or the bytes of it that were overwritten. */
  readonly #bytes: Region;
  /** The expiry before, or the offset of those bytes. */
  readonly #number: number;
  /** The length of the value before it was written to. */
  readonly #length: number;
  readonly #contents: Contents | null;

  private constructor(
    store: Changeable,
    kind: Kind,
    key: Region,
    bytes = NO_REGION,
    number = 0,
    length = 0,
    contents: Contents | null = null,
  ) {
    this.#store = store;
    this.#kind = kind;
    this.#key = key;
    this.#bytes = bytes;
    this.#number = number;
    this.#length = length;
    this.#contents = contents;
  }

  static add(store: Changeable, entry: number): Change {
    return new Change(store, Kind.add, keyOf(store.contents, entry));
  }

  static remove(store: Changeable, entry: number): Change {
    const { contents } = store;
    const value = valueOf(contents, entry, 0, contents.entries.valueLength(entry));
    return new Change(store, Kind.remove, keyOf(contents, entry), value, contents.expiry(entry));
  }

  static replace(store: Changeable, entry: number): Change {
    const { contents } = store;
    const value = valueOf(contents, entry, 0, contents.entries.valueLength(entry));
    return new Change(store, Kind.replace, keyOf(contents, entry), value, contents.expiry(entry));
  }

  static write(store: Changeable, entry: number, offset: number, count: number): Change {
    const { contents } = store;
    const length = contents.entries.valueLength(entry);
    const from = Math.min(offset, length);
    const bytes = valueOf(contents, entry, from, Math.min(length, offset + count));
    return new Change(store, Kind.write, keyOf(contents, entry), bytes, from, length);
  }

  static expiry(store: Changeable, entry: number): Change {
    const { contents } = store;
    return new Change(store, Kind.expiry, keyOf(contents, entry), NO_REGION, contents.expiry(entry));
  }

  static clear(store: Changeable): Change {
    return new Change(store, Kind.clear, NO_REGION, NO_REGION, 0, 0, store.contents);
  }

  takeBack(): void {
    const key = this.#key;
    const keyLength = key.bytes.length;
    const bytes = this.#bytes;
    const { length } = bytes.bytes;
    if (this.#contents !== null) {
      this.#store.contents = this.#contents;
      return;
    }
    const { contents } = this.#store;
    const entry = contents.find(key, 0, keyLength);
    assert((entry === 0) === (this.#kind === Kind.remove), "a change is taken back out of turn");
    switch (this.#kind) {
      case Kind.add:
        return contents.remove(entry);
      case Kind.remove:
        contents.add(key, 0, keyLength, bytes, 0, length, this.#number);
        return;
      case Kind.replace:
        return contents.replace(entry, bytes, 0, length, this.#number);
      case Kind.write: {
        contents.write(entry, this.#number, bytes, 0, length);
        if (contents.entries.valueLength(entry) === this.#length) return;
        const value = valueOf(contents, entry, 0, this.#length);
        return contents.replace(entry, value, 0, value.bytes.length, contents.expiry(entry));
      }
      case Kind.expiry:
        return contents.setExpiry(entry, this.#number);
      default:
        assert(false, "a change that clears has contents");
    }
  }
}

/** Takes back everything recorded since `mark`, newest first; all records must be changes of stores. */
export function takeBackChanges(undo: UndoLog, mark: number): void {
  while (undo.mark() > mark) {
    const change = undo.pop();
    assert(change instanceof Change, "the undo log holds records of another service");
    change.takeBack();
  }
}

function keyOf(contents: Contents, entry: number): Region {
  const { entries } = contents;
  entries.locate(entry);
  return new Region(entries.region.bytes.slice(entries.at, entries.at + entries.keyLength(entry)));
}

function valueOf(contents: Contents, entry: number, from: number, to: number): Region {
  const { entries } = contents;
  entries.locate(entry);
  const start = entries.at + entries.keyLength(entry);
  return new Region(entries.region.bytes.slice(start + from, start + to));
}
