import { assert, ByteWriter, encodeUtf8, MiB } from "../../base/index.js";
import type { ByteHandlers, BytePort, EventLog, Scheduler, Turn } from "../port.js";

export interface MemoryBytePortOptions {
  /** Output that a client has not taken, at most; a client above it after a flush is disconnected. */
  readonly inFlightBytesMax: number;
  readonly events: EventLog | null;
}

/** The far end of a connection to a `MemoryBytePort`. */
export interface MemoryByteClient {
  readonly connection: number;
  /** True once either side has ended the connection and everything sent before has been handed over. */
  readonly closed: boolean;
  /** Called with output as it arrives. Without it output collects for `take`. The bytes are the callee's to keep. */
  onData: ((bytes: Uint8Array) => void) | null;
  onClose: (() => void) | null;
  /** Sends bytes, or text as UTF-8; they are copied. */
  write(data: Uint8Array | string): void;
  /** All output since the last `take`. */
  take(): Uint8Array;
  /** A client that stops reading leaves its output in the port. */
  stopReading(): void;
  startReading(): void;
  /** Sends nothing more, and reads on if the port's host has a use for that (`onEnd`). */
  end(): void;
  /** Is gone at once, like a process that was killed: what was not delivered is lost both ways. */
  vanish(): void;
}

/** A `BytePort` inside a thread, for tests and the simulator. Delivery in both directions is by turn. */
export class MemoryBytePort implements BytePort {
  readonly #scheduler: Scheduler;
  readonly #options: MemoryBytePortOptions;
  readonly #connections = new Map<number, MemoryByteConnection>();
  readonly #dirty = new Set<MemoryByteConnection>();
  #handlers: ByteHandlers | null = null;
  #serial = 0;
  #closed = false;

  constructor(scheduler: Scheduler, options: Partial<MemoryBytePortOptions> = {}) {
    this.#scheduler = scheduler;
    this.#options = { inFlightBytesMax: 64 * MiB, events: null, ...options };
  }

  /** A new connection of a client. */
  connect(): MemoryByteClient {
    assert(this.#handlers !== null && !this.#closed, "connect to a port that runs");
    const number = ++this.#serial;
    const connection = new MemoryByteConnection(
      number,
      this.#scheduler,
      this.#handlers,
      this.#options.inFlightBytesMax,
      () => this.#connections.delete(number),
    );
    this.#connections.set(number, connection);
    return connection;
  }

  start(handlers: ByteHandlers): void {
    assert(this.#handlers === null && !this.#closed, "a port is started once");
    this.#handlers = handlers;
  }

  writer(connection: number): ByteWriter | null {
    const found = this.#connections.get(connection);
    if (found === undefined || found.ending) return null;
    this.#dirty.add(found);
    return found.collecting;
  }

  flush(): void {
    for (const connection of this.#dirty) {
      connection.flush();
      if (connection.inFlightBytes > this.#options.inFlightBytesMax) {
        const detail = `${connection.inFlightBytes} bytes unread, the maximum is ${this.#options.inFlightBytesMax}`;
        this.#options.events?.warn("slow-reader-disconnected", { connection: connection.connection, detail });
        connection.destroy();
      }
    }
    this.#dirty.clear();
  }

  inFlightBytes(connection: number): number {
    return this.#connections.get(connection)?.inFlightBytes ?? 0;
  }

  pause(connection: number): void {
    this.#connections.get(connection)?.setPaused(true);
  }

  resume(connection: number): void {
    this.#connections.get(connection)?.setPaused(false);
  }

  disconnect(connection: number, reason: string | null): void {
    const found = this.#connections.get(connection);
    if (found === undefined) return;
    if (reason === null) found.finish();
    else {
      this.#options.events?.info("client-disconnected", { connection, remote: "memory", reason });
      found.destroy();
    }
  }

  close(done: () => void): void {
    assert(!this.#closed, "a port is closed once");
    this.flush();
    this.#closed = true;
    for (const connection of this.#connections.values()) {
      connection.silence();
      connection.finish();
    }
    const finished = this.#scheduler.turn(done);
    finished.request();
  }
}

/** Both ends of one connection. */
class MemoryByteConnection implements MemoryByteClient {
  readonly connection: number;
  readonly collecting = new ByteWriter(1024, 256 * MiB);
  closed = false;
  /** The port's side takes and gives nothing more. */
  ending = false;
  /** The client sends nothing more. */
  #ended = false;
  #endTold = false;
  onData: ((bytes: Uint8Array) => void) | null = null;
  onClose: (() => void) | null = null;
  readonly #input: Uint8Array[] = [];
  readonly #output: Uint8Array[] = [];
  #outputBytes = 0;
  readonly #taken: Uint8Array[] = [];
  readonly #turn: Turn;
  readonly #inFlightBytesMax: number;
  readonly #forget: () => void;
  #handlers: ByteHandlers | null;
  #opened = false;
  #paused = false;
  #reading = true;
  #overfull = false;

  constructor(
    connection: number,
    scheduler: Scheduler,
    handlers: ByteHandlers,
    inFlightBytesMax: number,
    forget: () => void,
  ) {
    this.connection = connection;
    this.#handlers = handlers;
    this.#inFlightBytesMax = inFlightBytesMax;
    this.#forget = forget;
    this.#turn = scheduler.turn(() => this.#deliver());
    this.#turn.request();
  }

  get inFlightBytes(): number {
    return this.collecting.length + this.#outputBytes;
  }

  write(data: Uint8Array | string): void {
    if (this.ending || this.#ended) return;
    const bytes = typeof data === "string" ? encodeUtf8(data) : data.slice();
    if (bytes.length > 0) this.#input.push(bytes);
    this.#turn.request();
  }

  take(): Uint8Array {
    const length = this.#taken.reduce((sum, part) => sum + part.length, 0);
    const all = new Uint8Array(length);
    let at = 0;
    for (const part of this.#taken.splice(0)) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  stopReading(): void {
    this.#reading = false;
  }

  startReading(): void {
    this.#reading = true;
    this.#turn.request();
  }

  flush(): void {
    if (this.collecting.length === 0) return;
    this.#output.push(this.collecting.toBytes());
    this.#outputBytes += this.collecting.length;
    this.collecting.clear();
    if (this.#outputBytes * 2 > this.#inFlightBytesMax) this.#overfull = true;
    this.#turn.request();
  }

  setPaused(paused: boolean): void {
    this.#paused = paused;
    if (!paused) this.#turn.request();
  }

  end(): void {
    this.#ended = true;
    this.#turn.request();
  }

  vanish(): void {
    this.#input.length = 0;
    this.destroy();
  }

  /** Ends the connection after what was written. */
  finish(): void {
    if (this.ending) return;
    this.flush();
    this.ending = true;
    this.#turn.request();
  }

  /** Ends the connection with everything unread. */
  destroy(): void {
    this.ending = true;
    this.#output.length = 0;
    this.#outputBytes = 0;
    this.collecting.clear();
    this.#reading = true;
    this.#turn.request();
  }

  /** The port has closed: its handlers hear nothing more. */
  silence(): void {
    this.#handlers = null;
  }

  #deliver(): void {
    if (this.closed) return;
    if (!this.#opened) {
      this.#opened = true;
      this.#handlers?.onOpen(this.connection, "memory");
    }
    while (this.#input.length > 0 && !this.#paused && !this.ending) {
      const bytes = this.#input.shift() as Uint8Array;
      this.#handlers?.onBytes(this.connection, bytes, 0, bytes.length);
    }
    if (this.#ended && !this.#endTold && this.#input.length === 0 && !this.#paused && !this.ending) {
      this.#endTold = true;
      if (this.#handlers?.onEnd === undefined) this.finish();
      else this.#handlers.onEnd(this.connection);
    }
    while (this.#output.length > 0 && this.#reading) {
      const bytes = this.#output.shift() as Uint8Array;
      this.#outputBytes -= bytes.length;
      if (this.onData === null) this.#taken.push(bytes);
      else this.onData(bytes);
    }
    if (this.#overfull && this.#outputBytes * 2 < this.#inFlightBytesMax && !this.ending) {
      this.#overfull = false;
      this.#handlers?.onDrain(this.connection);
    }
    if (!this.ending || this.#output.length > 0) return;
    this.closed = true;
    this.#forget();
    this.#handlers?.onClose(this.connection);
    this.onClose?.();
  }
}
