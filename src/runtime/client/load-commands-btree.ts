// Hot file: every command of a load is written here and every reply checked. No allocation per command.
import { type ByteWriter, mix32 } from "../../base/index.js";
import { ConfigError } from "../../model/index.js";
import { BTREE_COMMAND_BYTES, BtreeOperation, REPLY_VALUE_HEADER_BYTES, ReplyKind } from "../../service/index.js";
import { takesFound, Expected, type LoadCommands, type LoadCommandsInit } from "./load-commands.js";
import { insertedBy, insertedCount, isInserted, type LoadKey } from "./load-keys.js";

const VALUE_BYTES = 8;
const BULK_BYTES = REPLY_VALUE_HEADER_BYTES + VALUE_BYTES;
const PAIRS_COUNT_AT = REPLY_VALUE_HEADER_BYTES;

/**
 * Commands on the `btree` service. Loaded keys lie evenly over the 64-bit range, in the order of their numbers; inserted ones
 * fall anywhere in it. Throws `ConfigError` for values of other than 8 bytes.
 */
export function btreeLoadCommands({ keys, valueSize, unique }: LoadCommandsInit): LoadCommands {
  if (valueSize !== VALUE_BYTES) {
    throw new ConfigError(`values of the btree service have ${VALUE_BYTES} bytes, got ${valueSize}`);
  }
  return new BtreeLoadCommands(keys, unique);
}

/** Where that many loaded keys are cut into equal parts for so many groups, as a cluster's configuration has its bounds. */
export function btreeLoadBounds(keys: number, groups: number): string[] {
  return Array.from({ length: groups - 1 }, (_, index) => {
    const first = Math.floor((keys * (index + 1)) / groups);
    return ((BigInt(first) * BigInt(spacingOf(keys))) << 32n).toString();
  });
}

/** Distance of neighbouring loaded keys in their upper word. */
function spacingOf(keys: number): number {
  return Math.floor(4_294_967_296 / keys);
}

class BtreeLoadCommands implements LoadCommands {
  readonly updateBytes = BTREE_COMMAND_BYTES[BtreeOperation.update] as number;
  readonly scans = true;
  readonly #spacing: number;
  readonly #unique: number;
  #writes = 0;

  constructor(keys: number, unique: number) {
    this.#spacing = spacingOf(keys);
    this.#unique = unique;
  }

  load(writer: ByteWriter, key: LoadKey): void {
    this.#write(writer, BtreeOperation.insert, 24, key);
  }

  update(writer: ByteWriter, key: LoadKey): void {
    this.#write(writer, BtreeOperation.update, 24, key);
  }

  insert(writer: ByteWriter, key: LoadKey): void {
    this.#write(writer, BtreeOperation.insert, 24, key);
  }

  delete(writer: ByteWriter, key: LoadKey): void {
    this.#write(writer, BtreeOperation.delete, 16, key);
  }

  read(writer: ByteWriter, key: LoadKey): void {
    this.#write(writer, BtreeOperation.read, 16, key);
  }

  scan(writer: ByteWriter, key: LoadKey, pairs: number): void {
    const at = this.#write(writer, BtreeOperation.range, 28, key);
    const view = writer.view;
    view.setUint32(at + 16, 0xffffffff, true);
    view.setUint32(at + 20, 0xffffffff, true);
    view.setUint32(at + 24, pairs, true);
  }

  unexpected(view: DataView, start: number, count: number, expected: Expected): number {
    let unexpected = 0;
    let at = start;
    for (let i = 0; i < count; i++) {
      const length = view.getUint32(at, true);
      const kind = view.getUint32(at + 4, true);
      const bulk = kind === ReplyKind.bulk && length === BULK_BYTES;
      const found = bulk || (kind === ReplyKind.pairs && view.getUint32(at + PAIRS_COUNT_AT, true) > 0);
      const done = kind === ReplyKind.ok || (expected === Expected.loaded && kind === ReplyKind.nil);
      if (!(done && expected !== Expected.found) && !(found && takesFound(expected))) unexpected++;
      at += length;
    }
    return unexpected;
  }

  #write(writer: ByteWriter, operation: number, bytes: number, key: LoadKey): number {
    const at = writer.skip(bytes);
    const view = writer.view;
    view.setUint32(at, bytes, true);
    view.setUint32(at + 4, operation, true);
    if (isInserted(key)) {
      // Three rounds that can be undone step by step: no two insertions of a load get one key.
      const client = insertedBy(key);
      let low = insertedCount(key);
      let high = mix32(low ^ this.#unique) ^ client;
      low ^= mix32(high);
      high ^= mix32(low ^ this.#unique);
      view.setUint32(at + 8, low, true);
      view.setUint32(at + 12, high, true);
    } else {
      view.setUint32(at + 8, 0, true);
      view.setUint32(at + 12, key * this.#spacing, true);
    }
    if (bytes === 24) {
      view.setUint32(at + 16, this.#writes, true);
      view.setUint32(at + 20, key >>> 0, true);
      this.#writes = (this.#writes + 1) | 0;
    }
    return at;
  }
}
