/** The btree service as a plain map: what a load on it must get. Slow, and obviously right. */
import type { ByteWriter } from "#src/base/index.js";
import { BTREE_COMMAND_BYTES, BtreeOperation, ReplyKind, replyNil, replyOk } from "#src/service/index.js";

export class BtreeModel {
  readonly #pairs = new Map<bigint, bigint>();
  /** Its keys, ascending. */
  readonly #keys: bigint[] = [];
  /** Commands by operation. */
  readonly counts = BTREE_COMMAND_BYTES.map(() => 0);
  /** Scans by the number of pairs asked for. */
  readonly scans = new Map<number, number>();
  /** Commands that found their key missing or there although it must not be. */
  refused = 0;

  get size(): number {
    return this.#pairs.size;
  }

  clone(): BtreeModel {
    const clone = new BtreeModel();
    for (const [key, value] of this.#pairs) clone.#pairs.set(key, value);
    clone.#keys.push(...this.#keys);
    this.counts.forEach((count, operation) => (clone.counts[operation] = count));
    return clone;
  }

  execute(command: Uint8Array, replies: ByteWriter): void {
    const view = new DataView(command.buffer, command.byteOffset, command.byteLength);
    const operation = view.getUint32(4, true);
    const key = view.getBigUint64(8, true);
    if (view.getUint32(0, true) !== BTREE_COMMAND_BYTES[operation]) throw new Error(`length of operation ${operation}`);
    this.counts[operation] = (this.counts[operation] as number) + 1;
    const there = this.#pairs.has(key);
    if (operation === BtreeOperation.range) return this.#range(view, key, replies);
    if (there === (operation === BtreeOperation.insert)) {
      this.refused++;
      return replyNil(replies);
    }
    if (operation === BtreeOperation.read) {
      replies.u32(16);
      replies.u32(ReplyKind.bulk);
      words(replies, this.#pairs.get(key) as bigint);
      return;
    }
    if (operation === BtreeOperation.delete) {
      this.#pairs.delete(key);
      this.#keys.splice(this.#place(key), 1);
    } else {
      if (!there) this.#keys.splice(this.#place(key), 0, key);
      this.#pairs.set(key, view.getBigUint64(16, true));
    }
    replyOk(replies);
  }

  #range(view: DataView, first: bigint, replies: ByteWriter): void {
    const last = view.getBigUint64(16, true);
    const wanted = view.getUint32(24, true);
    this.scans.set(wanted, (this.scans.get(wanted) ?? 0) + 1);
    const place = this.#place(first);
    const found = this.#keys.slice(place, place + wanted).filter((key) => key <= last);
    replies.u32(12 + 16 * found.length);
    replies.u32(ReplyKind.pairs);
    replies.u32(found.length);
    for (const key of found) {
      words(replies, key);
      words(replies, this.#pairs.get(key) as bigint);
    }
  }

  /** How many keys are below `key`. */
  #place(key: bigint): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#keys[middle] as bigint) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function words(writer: ByteWriter, value: bigint): void {
  writer.u32(Number(value & 0xffffffffn));
  writer.u32(Number(value >> 32n));
}
