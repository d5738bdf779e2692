import { assert, ByteWriter } from "../../base/index.js";
import type { Instance, SnapshotSource } from "../../model/index.js";
import { placesSection, sessionsSection } from "./cut-format.js";
import { EMPTY_SLICES_MAX } from "./cut-writer.js";
import { MemberMessage } from "./member-message.js";
import type { MessageSender } from "./message-ring.js";

/** Bytes of a piece of a part. */
const PIECE_BYTES = 64 * 1024;

/** Sends a thread's part of a cut to the first thread, which writes the checkpoint: as fast as that one takes it. */
export class CutPart {
  readonly #thread: number;
  readonly #ring: MessageSender;
  readonly #piece = new ByteWriter(2 * PIECE_BYTES);
  #source: SnapshotSource | null = null;
  /** The message that is offered until there is room for it; 0 for none. */
  #kind = 0;
  #number = 0;
  /** What comes next: 0 the position, 1 the places, 2 their end, 3 sessions, 4 their end. */
  #step = 0;
  #position: Instance = 0;
  readonly #places = new ByteWriter(256);

  constructor(thread: number, ring: MessageSender) {
    this.#thread = thread;
    this.#ring = ring;
  }

  get busy(): boolean {
    return this.#source !== null;
  }

  /** Begins with a part at this position of the thread's stream; `places` are written by the callback. */
  begin(position: Instance, sessions: SnapshotSource, places: (writer: ByteWriter) => void): void {
    assert(this.#source === null, "a cut was taken before the one before it was written");
    this.#source = sessions;
    this.#position = position;
    this.#places.clear();
    places(this.#places);
    this.#step = 0;
    this.#kind = 0;
  }

  /** Sends on. True if it has sent anything: then the first thread is to be rung for. */
  pump(): boolean {
    let sent = false;
    while (this.#source !== null) {
      if (this.#kind === 0 && !this.#prepare(this.#source)) return sent;
      if (!this.#ring.offer(this.#kind, this.#number, this.#piece.bytes, 0, this.#piece.length)) return true;
      sent = true;
      this.#kind = 0;
      if (this.#step === 5) {
        this.#source.close();
        this.#source = null;
      }
    }
    return sent;
  }

  close(): void {
    this.#source?.close();
    this.#source = null;
  }

  /** Makes the next message. False if there is none now: the thread waits at a barrier, and its part is not its own there. */
  #prepare(source: SnapshotSource): boolean {
    const piece = this.#piece;
    piece.clear();
    const step = this.#step++;
    this.#kind = step === 0 ? MemberMessage.position : MemberMessage.section;
    this.#number =
      step === 0 ? this.#position : step <= 2 ? placesSection(this.#thread) : sessionsSection(this.#thread);
    if (step === 1) piece.copy(this.#places.bytes, 0, this.#places.length);
    if (step !== 3) return true;
    // A piece of no bytes would end the section.
    let more = true;
    for (let slice = 0; slice < EMPTY_SLICES_MAX && more && piece.length === 0; slice++) {
      more = source.next(piece, PIECE_BYTES);
    }
    if (more) this.#step = 3;
    else if (piece.length === 0) this.#step = 5;
    if (!more || piece.length > 0) return true;
    this.#kind = 0;
    return false;
  }
}
