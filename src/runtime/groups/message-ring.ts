// Hot file: every batch of g_all, and every reply to one, passes here. Nothing allocates per message but growth.
import { ByteWriter } from "../../base/index.js";
import { RingConsumer, RingProducer } from "../../platform/index.js";

/** A record: `u8 kind`, `u8` 1 for the last piece of a message, 6 bytes of nothing, `f64 number`, and the piece. */
const HEADER_BYTES = 16;

/** The sending end of a ring of messages: each has a kind, a number, and bytes of any length, which are cut into pieces. */
export class MessageSender {
  readonly #ring: RingProducer;
  readonly #pieceBytesMax: number;
  /** Bytes that are in the ring of the message that did not fit. */
  #sent = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#ring = new RingProducer(memory);
    // Several pieces fit at a time, so that one end can write while the other reads.
    this.#pieceBytesMax = Math.floor(this.#ring.recordBytesMax / 2) - HEADER_BYTES;
  }

  /**
   * Sends a message. False if it did not fit: then a piece of it may have been sent, and the same one has to be offered again
   * before any other.
   */
  offer(kind: number, number: number, bytes: Uint8Array, start: number, end: number): boolean {
    const ring = this.#ring;
    let at = start + this.#sent;
    for (;;) {
      const length = Math.min(end - at, this.#pieceBytesMax);
      const offset = ring.begin(HEADER_BYTES + length);
      if (offset < 0) {
        this.#sent = at - start;
        ring.publish();
        // What was taken out between the look and this declaration has made room.
        if (ring.sleep()) return false;
        continue;
      }
      const last = at + length === end;
      ring.view.setUint32(offset, kind | (last ? 0x100 : 0), true);
      ring.view.setFloat64(offset + 8, number, true);
      ring.bytes.set(bytes.subarray(at, at + length), offset + HEADER_BYTES);
      ring.end(HEADER_BYTES + length);
      at += length;
      if (last) break;
    }
    this.#sent = 0;
    ring.publish();
    return true;
  }
}

/** The receiving end. */
export class MessageReceiver {
  readonly #ring: RingConsumer;
  /** The pieces of a message so far. */
  readonly #pieces = new ByteWriter(64, 2 ** 31);

  constructor(memory: SharedArrayBuffer) {
    this.#ring = new RingConsumer(memory);
  }

  /**
   * Hands out messages while there are any and `take` wants more; the bytes are valid during the call. True if the sender had
   * found no room and has some now: it is to be rung for.
   */
  receive(
    take: (kind: number, number: number, bytes: Uint8Array, view: DataView, start: number, end: number) => boolean,
  ): boolean {
    const ring = this.#ring;
    const pieces = this.#pieces;
    let roomMade = false;
    let more = true;
    while (more && ring.next()) {
      const { start, end, view, bytes } = ring;
      const word = view.getUint32(start, true);
      const number = view.getFloat64(start + 8, true);
      if ((word & 0x100) === 0) pieces.copy(bytes, start + HEADER_BYTES, end);
      else if (pieces.length === 0) more = take(word & 0xff, number, bytes, view, start + HEADER_BYTES, end);
      else {
        pieces.copy(bytes, start + HEADER_BYTES, end);
        more = take(word & 0xff, number, pieces.bytes, pieces.view, 0, pieces.length);
        pieces.clear();
      }
      if (ring.release()) roomMade = true;
    }
    return roomMade;
  }
}
