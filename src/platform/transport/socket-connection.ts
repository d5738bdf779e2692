// Hot file: every byte in and out of a socket passes here, once per event-loop turn and connection rather than per frame.
import type { Socket } from "node:net";
import type { ByteWriter } from "../../base/index.js";
import type { Timer } from "../port.js";
import type { ReadSocket } from "./plain-reads.js";
import type { WriterPool } from "./writer-pool.js";

/** TCP keepalive finds peers that vanished without a word while nothing is sent. */
const KEEPALIVE_MS = 10_000;

/** What a connection tells its owner. Never called inside a call of the owner's. */
export interface SocketOwner {
  /** `view` covers `bytes`; both are valid only during the call. */
  onBytes(bytes: Uint8Array, view: DataView, start: number, end: number): void;
  /** Output was handed over to the kernel; `inFlightBytes` has fallen. */
  onWritten(): void;
  /** The connection is over for both directions; once. `cause` says why, in words, if this side did not end it. */
  onClosed(cause: string): void;
  /** The socket's handle is gone; once, after `onClosed`. */
  onReleased(): void;
  /**
   * The other side sends nothing more; everything it sent was delivered. The owner may still write, and then ends the
   * connection. Without this callback the connection is over when the other side ends.
   */
  onEnd?(): void;
}

/**
 * One TCP connection as bytes. Output collects in a pooled writer and leaves as one buffer per `flush`; while a buffer is
 * on its way the next one collects, so at most two exist however slowly the other side reads.
 *
 * A connection whose other side has ended its half is over, unless the owner has a use for half-open ones: our own
 * protocols have none, and a closed connection must be noticed at once (it starts a failover).
 */
export class SocketConnection {
  readonly remote: string;
  readonly #socket: Socket;
  readonly #owner: SocketOwner;
  readonly #pool: WriterPool;
  #collecting: ByteWriter | null = null;
  #sending: ByteWriter | null = null;
  #sendingBytes = 0;
  #state: "open" | "ending" | "closed" = "open";
  #closeReported = false;
  #cause = "closed by the other side";
  #linger: Timer | null = null;
  readonly #onSent = (): void => this.#sent();

  /** Takes over a connected or connecting socket. `remote` names the other side in log lines. */
  constructor({ socket, reads }: ReadSocket, remote: string, owner: SocketOwner, pool: WriterPool) {
    this.remote = remote;
    this.#socket = socket;
    this.#owner = owner;
    this.#pool = pool;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEPALIVE_MS);
    if (reads === null) socket.on("data", (chunk: Buffer) => this.#received(chunk));
    else {
      reads.receive = (bytes, view, start, end) => {
        if (this.#state === "open") owner.onBytes(bytes, view, start, end);
      };
    }
    socket.on("end", () => this.#ended());
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.#cause = error.code ?? error.message;
      this.#over();
    });
    socket.on("close", () => {
      this.#over();
      this.#release();
    });
  }

  get open(): boolean {
    return this.#state === "open";
  }

  /** Bytes written by the host and not yet taken by the kernel. */
  get inFlightBytes(): number {
    return this.#sendingBytes + (this.#collecting === null ? 0 : this.#collecting.length);
  }

  /** Where this turn's output collects. Only while `open`. */
  writer(): ByteWriter {
    this.#collecting ??= this.#pool.take();
    return this.#collecting;
  }

  /** Sends what has collected, unless earlier output is still on its way: then it leaves behind that. */
  flush(): void {
    const writer = this.#collecting;
    if (writer === null || writer.length === 0 || this.#sending !== null || this.#state === "closed") return;
    this.#collecting = null;
    this.#sending = writer;
    this.#sendingBytes = writer.length;
    this.#socket.write(writer.bytes.subarray(0, writer.length), this.#onSent);
  }

  pause(): void {
    if (this.#state === "open") this.#socket.pause();
  }

  resume(): void {
    if (this.#state === "open") this.#socket.resume();
  }

  /** Drops the connection with everything unsent. `onClosed` follows. */
  destroy(cause: string): void {
    if (this.#state === "closed") return;
    this.#cause = cause;
    this.#state = "closed";
    this.#socket.destroy();
  }

  /**
   * Sends what has collected, then ends the connection. What still arrives is read and dropped, since closing with unread
   * input would reset the connection and might take our last bytes with it. `linger` bounds the wait for the other side.
   */
  end(linger: (expired: () => void) => Timer, atMs: number): void {
    if (this.#state !== "open") return;
    this.flush();
    this.#state = "ending";
    if (this.#sending === null) this.#socket.end();
    this.#socket.resume();
    this.#linger = linger(() => this.destroy("it did not close its side in time"));
    this.#linger.set(atMs);
  }

  #received(chunk: Buffer): void {
    if (this.#state !== "open") return;
    // Not the Buffer itself: its `slice` makes a view where Uint8Array's makes a copy, and a second hidden class would
    // make every decoder polymorphic.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#owner.onBytes(bytes, view, 0, bytes.length);
  }

  #ended(): void {
    if (this.#owner.onEnd === undefined || this.#state === "closed") return this.#over();
    // While we are ending, what is on its way still has a reader; the socket closes by itself when it has left.
    if (this.#state === "open") this.#owner.onEnd();
  }

  #sent(): void {
    const writer = this.#sending;
    this.#sending = null;
    this.#sendingBytes = 0;
    if (writer !== null) this.#pool.give(writer);
    if (this.#state === "closed") return;
    this.flush();
    if (this.#state === "ending") {
      if (this.#sending === null) this.#socket.end();
    } else this.#owner.onWritten();
  }

  /** Reports the end at once, before the handle is gone. */
  #over(): void {
    this.#linger?.clear();
    this.#state = "closed";
    if (this.#closeReported) return;
    this.#closeReported = true;
    this.#socket.destroy();
    if (this.#collecting !== null) this.#pool.give(this.#collecting);
    this.#collecting = null;
    this.#owner.onClosed(this.#cause);
  }

  #release(): void {
    this.#owner.onReleased();
  }
}
