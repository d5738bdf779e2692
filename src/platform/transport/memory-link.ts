// Hot file: commands from a replica's own gateway pass here. The body is written once and read where it was written.
import { assert, MiB, type ByteWriter } from "../../base/index.js";
import type { EventLog, FrameHandlers, FramePort, Scheduler, Timer, Turn } from "../port.js";
import { FRAME_BYTES_MAX, FRAME_KIND_MAX } from "./frame.js";
import { WriterPool } from "./writer-pool.js";

export interface MemoryLinkOptions {
  /** The number the dialler's side knows the link by. */
  readonly diallerLink: number;
  /** Bytes sent and not yet delivered, each way, at most; above it `begin` returns null. */
  readonly inFlightBytesMax: number;
  /** How long after a `disconnect` the dialler connects again. */
  readonly reconnectMs: number;
  /** Told when a side disconnects the link. */
  readonly events: EventLog | null;
}

export const MEMORY_LINK_DEFAULTS: MemoryLinkOptions = Object.freeze({
  diallerLink: 1,
  inFlightBytesMax: 16 * MiB,
  reconnectMs: 20,
  events: null,
});

/** Before each body: u32 length of body and header, u16 kind, u16 0. Nothing leaves the thread, so nothing is checked. */
const HEADER_BYTES = 8;

/**
 * One link inside a thread, between a client's side and a replica's listening side. Delivery is by turn of the given
 * scheduler, so no callback runs inside a call. The listener numbers its link 1, 2, … as the dialler connects anew.
 */
export function createMemoryLink(
  scheduler: Scheduler,
  options: Partial<MemoryLinkOptions> = {},
): { readonly dialler: FramePort; readonly listener: FramePort } {
  const link = new MemoryLink(scheduler, { ...MEMORY_LINK_DEFAULTS, ...options });
  return { dialler: link.dialler, listener: link.listener };
}

class MemoryLink {
  readonly dialler: MemoryFramePort;
  readonly listener: MemoryFramePort;
  readonly options: MemoryLinkOptions;
  readonly scheduler: Scheduler;
  /** Number of the present connection, rising from 1; 0 while there is none. */
  connection = 0;
  #connections = 0;
  readonly #reconnect: Timer;

  constructor(scheduler: Scheduler, options: MemoryLinkOptions) {
    this.scheduler = scheduler;
    this.options = options;
    const pool = new WriterPool(options.inFlightBytesMax + FRAME_BYTES_MAX + 1 * MiB);
    this.dialler = new MemoryFramePort(this, pool, options.diallerLink);
    this.listener = new MemoryFramePort(this, pool, null);
    this.#reconnect = scheduler.timer(() => this.connect());
  }

  otherOf(side: MemoryFramePort): MemoryFramePort {
    return side === this.dialler ? this.listener : this.dialler;
  }

  connect(): void {
    if (this.connection !== 0 || !this.dialler.running || !this.listener.running) return;
    this.connection = ++this.#connections;
    this.dialler.wake();
    this.listener.wake();
  }

  /** Ends the connection; what was under way in either direction is lost. */
  break(again: boolean): void {
    if (again) this.#reconnect.set(this.scheduler.clock.monotonicMs() + this.options.reconnectMs);
    else this.#reconnect.clear();
    this.connection = 0;
    this.dialler.drop();
    this.listener.drop();
  }
}

/** One side of a link in memory. At most one buffer is unread and one collects, so memory is bounded by the bytes in them. */
class MemoryFramePort implements FramePort {
  readonly #link: MemoryLink;
  readonly #pool: WriterPool;
  readonly #turn: Turn;
  /** The number of the link on this side: fixed, or that of the connection. */
  readonly #fixedNumber: number | null;
  #handlers: FrameHandlers | null = null;
  #closed = false;
  /** The connection that the handlers know of; 0 if they think the link is down. */
  #reported = 0;
  #paused = false;
  #collecting: ByteWriter | null = null;
  #flushOwed = false;
  /** What the other side has sent, and how far it has been delivered. */
  #inbox: ByteWriter | null = null;
  #inboxAt = 0;
  #overfull = false;
  #frameStart = -1;
  #frameKind = 0;

  constructor(link: MemoryLink, pool: WriterPool, fixedNumber: number | null) {
    this.#link = link;
    this.#pool = pool;
    this.#fixedNumber = fixedNumber;
    this.#turn = link.scheduler.turn(() => this.#deliver());
  }

  get running(): boolean {
    return this.#handlers !== null && !this.#closed;
  }

  start(handlers: FrameHandlers): void {
    assert(this.#handlers === null && !this.#closed, "a port is started once");
    this.#handlers = handlers;
    this.#link.connect();
  }

  begin(link: number, kind: number): ByteWriter | null {
    assert(this.#frameStart < 0, "begin before the end of the last frame");
    assert(kind >= 1 && kind <= FRAME_KIND_MAX, `frame kinds are 1 to ${FRAME_KIND_MAX}, got ${kind}`);
    if (!this.#isUp(link)) return null;
    if (this.inFlightBytes(link) >= this.#link.options.inFlightBytesMax) {
      this.#overfull = true;
      return null;
    }
    this.#collecting ??= this.#pool.take();
    this.#frameStart = this.#collecting.skip(HEADER_BYTES);
    this.#frameKind = kind;
    return this.#collecting;
  }

  end(): void {
    assert(this.#frameStart >= 0, "end without begin");
    const start = this.#frameStart;
    this.#frameStart = -1;
    const writer = this.#collecting;
    if (writer === null) return;
    const length = writer.length - start;
    assert(length <= FRAME_BYTES_MAX, `a frame has ${length} bytes, the maximum is ${FRAME_BYTES_MAX}`);
    writer.view.setUint32(start, length, true);
    writer.view.setUint32(start + 4, this.#frameKind, true);
  }

  flush(): void {
    assert(this.#frameStart < 0, "flush inside a frame");
    const writer = this.#collecting;
    if (writer === null || writer.length === 0) return;
    if (this.#unsent() * 2 > this.#link.options.inFlightBytesMax) this.#overfull = true;
    const other = this.#link.otherOf(this);
    if (other.#inbox !== null) {
      this.#flushOwed = true;
      return;
    }
    this.#flushOwed = false;
    this.#collecting = null;
    other.#inbox = writer;
    other.#inboxAt = 0;
    other.#turn.request();
  }

  inFlightBytes(link: number): number {
    return this.#isUp(link) ? this.#unsent() : 0;
  }

  pause(link: number): void {
    if (this.#isUp(link)) this.#paused = true;
  }

  resume(link: number): void {
    if (!this.#isUp(link)) return;
    this.#paused = false;
    this.#turn.request();
  }

  disconnect(link: number, reason: string): void {
    if (!this.#isUp(link)) return;
    this.#link.options.events?.info("link-disconnected", { link, remote: "memory", reason });
    this.#link.break(true);
  }

  close(done: () => void): void {
    assert(!this.#closed, "a port is closed once");
    this.flush();
    // What was sent is delivered before the other side hears of the end: its turn was asked for first.
    const { scheduler } = this.#link;
    const finished = scheduler.turn(() => {
      this.#link.break(false);
      done();
    });
    this.#closed = true;
    finished.request();
  }

  /** Something for this side has changed. */
  wake(): void {
    this.#turn.request();
  }

  /** The connection is gone with everything in it. */
  drop(): void {
    // Not given back to the pool: a handler may be reading the one, and a host writing the other, at this moment.
    this.#inbox = null;
    this.#collecting = null;
    this.#flushOwed = false;
    this.#overfull = false;
    this.#paused = false;
    this.#turn.request();
  }

  #isUp(link: number): boolean {
    return !this.#closed && this.#reported !== 0 && this.#reported === this.#link.connection && link === this.#number();
  }

  #number(): number {
    return this.#fixedNumber ?? this.#reported;
  }

  #unsent(): number {
    const other = this.#link.otherOf(this);
    const unread = other.#inbox === null ? 0 : other.#inbox.length - other.#inboxAt;
    return unread + (this.#collecting === null ? 0 : this.#collecting.length);
  }

  #deliver(): void {
    const handlers = this.#handlers;
    if (handlers === null || this.#closed) return;
    if (this.#reported !== 0 && this.#reported !== this.#link.connection) {
      const number = this.#number();
      this.#reported = 0;
      handlers.onLink(number, false);
    }
    if (this.#reported === 0 && this.#link.connection !== 0) {
      this.#reported = this.#link.connection;
      handlers.onLink(this.#number(), true);
    }
    if (this.#inbox !== null) this.#deliverFrames(handlers, this.#inbox);
    if (this.#overfull && this.#isUp(this.#number()) && this.#unsent() * 2 < this.#link.options.inFlightBytesMax) {
      this.#overfull = false;
      handlers.onDrain(this.#number());
    }
  }

  #deliverFrames(handlers: FrameHandlers, inbox: ByteWriter): void {
    const number = this.#number();
    // A handler may pause, disconnect or close: each is seen before the next frame. The bytes live until the last one.
    while (this.#inbox === inbox && !this.#paused && !this.#closed) {
      if (this.#inboxAt === inbox.length) {
        this.#inbox = null;
        this.#pool.give(inbox);
        break;
      }
      const at = this.#inboxAt;
      const end = at + inbox.view.getUint32(at, true);
      this.#inboxAt = end;
      handlers.onFrame(number, inbox.view.getUint16(at + 4, true), inbox.bytes, inbox.view, at + HEADER_BYTES, end);
    }
    const other = this.#link.otherOf(this);
    if (this.#inbox === null && other.#flushOwed) other.flush();
    if (other.#overfull) other.#turn.request();
  }
}
