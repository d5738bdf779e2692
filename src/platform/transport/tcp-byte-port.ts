import type { Socket } from "node:net";
import { assert, encodeUtf8, MiB, type ByteWriter } from "../../base/index.js";
import type { ByteHandlers, BytePort, EventLog, Scheduler, Timer } from "../port.js";
import { Acceptor, remoteAddress, type ListenAddress, type ListenDone } from "./acceptor.js";
import { isCertified } from "./certificate-name.js";
import { FaultLog } from "./fault-log.js";
import type { ReadSocket } from "./plain-reads.js";
import { SocketConnection, type SocketOwner } from "./socket-connection.js";
import type { TlsCredentials } from "./tls-credentials.js";
import { WriterPool } from "./writer-pool.js";

export interface TcpBytePortOptions {
  readonly connectionsMax: number;
  /** Unread output of one connection. A client above it for `slowReaderMs`, or above twice of it at all, is disconnected. */
  readonly inFlightBytesMax: number;
  readonly slowReaderMs: number;
  /** How long a quiet end waits for output to leave and for the client to close its side. */
  readonly lingerMs: number;
  /**
   * A client that has ended its side and waits for replies is dropped after this long without progress: the time until
   * the host disconnects it, counted anew when output has left, and then the time until all of it has left.
   */
  readonly halfOpenMs: number;
  /** Sent to a client above `connectionsMax` before its connection is closed. */
  readonly refusal: string;
}

export const TCP_BYTE_PORT_DEFAULTS: TcpBytePortOptions = Object.freeze({
  connectionsMax: 10_000,
  inFlightBytesMax: 64 * MiB,
  slowReaderMs: 5000,
  lingerMs: 1000,
  halfOpenMs: 10_000,
  refusal: "-ERR max number of clients reached\r\n",
});

export interface TcpBytePortInit {
  readonly scheduler: Scheduler;
  readonly events: EventLog;
  readonly listen: ListenAddress;
  readonly tls?: TlsCredentials | undefined;
  readonly options?: Partial<TcpBytePortOptions>;
}

/** Connections that are being told why they are refused; a further one is closed without a word. */
const REFUSED_MAX = 64;

/** A listener of raw byte connections over TCP. */
export class TcpBytePort implements BytePort {
  readonly #scheduler: Scheduler;
  readonly #faults: FaultLog;
  readonly #options: TcpBytePortOptions;
  readonly #acceptor: Acceptor;
  readonly #pool: WriterPool;
  /** Connections that the handlers know of, by number. */
  readonly #open = new Map<number, ByteConnection>();
  /** Every connection whose handle is not gone yet. */
  readonly #all = new Set<ByteConnection>();
  readonly #refused = new Set<Socket>();
  readonly #dirty: ByteConnection[] = [];
  #handlers: ByteHandlers | null = null;
  #serial = 0;
  #closing = false;
  #onReleased: (() => void) | null = null;

  constructor(init: TcpBytePortInit) {
    this.#scheduler = init.scheduler;
    this.#faults = new FaultLog(init.events, init.scheduler.clock);
    this.#options = { ...TCP_BYTE_PORT_DEFAULTS, ...init.options };
    const tls = init.tls === undefined ? null : { credentials: init.tls, certificateNeeded: false };
    const { listen, events } = init;
    this.#acceptor = new Acceptor({ listen, events, faults: this.#faults, halfOpen: true, tls });
    // The host may write one burst of replies before `flush` can look at the bound, hence the room above it.
    this.#pool = new WriterPool(2 * this.#options.inFlightBytesMax + 64 * MiB);
  }

  /** Binds the address. Clients that connect before `start` wait. */
  listen(done: ListenDone): void {
    this.#acceptor.listen(done);
  }

  /** The bound address as `host:port`, or null. */
  get address(): string | null {
    return this.#acceptor.bound;
  }

  start(handlers: ByteHandlers): void {
    assert(this.#handlers === null && !this.#closing, "a port is started once");
    this.#handlers = handlers;
    this.#acceptor.start((accepted) => this.#accept(accepted));
  }

  writer(connection: number): ByteWriter | null {
    const found = this.#open.get(connection);
    if (found === undefined || !found.socket.open) return null;
    if (!found.dirty) {
      found.dirty = true;
      this.#dirty.push(found);
    }
    return found.socket.writer();
  }

  flush(): void {
    const dirty = this.#dirty;
    for (let i = 0; i < dirty.length; i++) {
      const connection = dirty[i] as ByteConnection;
      connection.dirty = false;
      connection.socket.flush();
      this.#checkBound(connection);
    }
    dirty.length = 0;
  }

  inFlightBytes(connection: number): number {
    return this.#open.get(connection)?.socket.inFlightBytes ?? 0;
  }

  pause(connection: number): void {
    this.#open.get(connection)?.socket.pause();
  }

  resume(connection: number): void {
    this.#open.get(connection)?.socket.resume();
  }

  disconnect(connection: number, reason: string | null): void {
    const found = this.#open.get(connection);
    if (found === undefined) return;
    if (reason === null) {
      const { lingerMs, halfOpenMs } = this.#options;
      this.#end(found, found.halfOpen === null ? lingerMs : halfOpenMs);
      return;
    }
    this.#faults.info("client-disconnected", reason, { connection, remote: found.socket.remote });
    found.socket.destroy(reason);
  }

  close(done: () => void): void {
    assert(!this.#closing, "a port is closed once");
    this.flush();
    this.#closing = true;
    for (const socket of this.#refused) socket.destroy();
    for (const connection of this.#all) this.#end(connection, Math.min(this.#options.lingerMs, 250));
    this.#acceptor.close(() => {
      if (this.#all.size === 0) done();
      else this.#onReleased = done;
    });
  }

  #accept(accepted: ReadSocket): void {
    const { socket } = accepted;
    const remote = remoteAddress(socket);
    if (this.#all.size >= this.#options.connectionsMax) {
      this.#refuse(socket, remote);
      return;
    }
    const number = ++this.#serial;
    const connection = new ByteConnection(accepted, remote, this.#pool, {
      onBytes: (bytes, _view, start, end) => this.#handlers?.onBytes(number, bytes, start, end),
      onWritten: () => this.#written(connection),
      onClosed: () => {
        connection.stall?.clear();
        connection.halfOpen?.clear();
        this.#open.delete(number);
        if (!this.#closing) this.#handlers?.onClose(number);
      },
      onReleased: () => this.#released(connection),
      onEnd: () => this.#ended(connection),
    });
    connection.number = number;
    this.#all.add(connection);
    this.#open.set(number, connection);
    connection.socket.resume();
    this.#handlers?.onOpen(number, remote, isCertified(socket));
  }

  #refuse(socket: Socket, remote: string): void {
    const detail = `there are ${this.#all.size} connections, the maximum is ${this.#options.connectionsMax}`;
    this.#faults.warn("connection-refused", "connections", { remote, detail });
    if (this.#refused.size >= REFUSED_MAX || this.#closing) {
      socket.destroy();
      return;
    }
    // Its input is read and dropped: closing with unread input would reset the connection before the refusal is seen.
    this.#refused.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.#refused.delete(socket));
    socket.setTimeout(this.#options.lingerMs, () => socket.destroy());
    socket.resume();
    socket.end(encodeUtf8(this.#options.refusal));
  }

  /** The client sends nothing more. */
  #ended(connection: ByteConnection): void {
    const handlers = this.#handlers;
    if (handlers?.onEnd === undefined) {
      this.#end(connection, this.#options.lingerMs);
      return;
    }
    connection.halfOpen = this.#scheduler.timer(() => {
      const { number, socket } = connection;
      const detail = `no progress for ${this.#options.halfOpenMs} ms, ${socket.inFlightBytes} bytes unread`;
      this.#faults.warn("half-closed-disconnected", "half-closed", {
        connection: number,
        remote: socket.remote,
        detail,
      });
      socket.destroy("it ended its side and did not read");
    });
    connection.halfOpen.set(this.#scheduler.clock.monotonicMs() + this.#options.halfOpenMs);
    handlers.onEnd(connection.number);
  }

  #end(connection: ByteConnection, lingerMs: number): void {
    connection.halfOpen?.clear();
    const untilMs = this.#scheduler.clock.monotonicMs() + lingerMs;
    connection.socket.end((expired) => this.#scheduler.timer(expired), untilMs);
  }

  #checkBound(connection: ByteConnection): void {
    const max = this.#options.inFlightBytesMax;
    const unread = connection.socket.inFlightBytes;
    if (unread * 2 > max) connection.overfull = true;
    if (unread > 2 * max) this.#dropSlow(connection);
    else if (unread > max && connection.stall === null) {
      connection.stall = this.#scheduler.timer(() => {
        connection.stall = null;
        if (connection.socket.inFlightBytes > max) this.#dropSlow(connection);
      });
      connection.stall.set(this.#scheduler.clock.monotonicMs() + this.#options.slowReaderMs);
    }
  }

  #dropSlow(connection: ByteConnection): void {
    const { number, socket } = connection;
    const detail = `${socket.inFlightBytes} bytes unread, the maximum is ${this.#options.inFlightBytesMax}`;
    this.#faults.warn("slow-reader-disconnected", "slow-reader", { connection: number, remote: socket.remote, detail });
    socket.destroy("slow reader");
  }

  #written(connection: ByteConnection): void {
    connection.halfOpen?.set(this.#scheduler.clock.monotonicMs() + this.#options.halfOpenMs);
    if (!connection.overfull || connection.socket.inFlightBytes * 2 >= this.#options.inFlightBytesMax) return;
    connection.overfull = false;
    connection.stall?.clear();
    connection.stall = null;
    if (!this.#closing) this.#handlers?.onDrain(connection.number);
  }

  #released(connection: ByteConnection): void {
    this.#all.delete(connection);
    if (this.#all.size > 0 || this.#onReleased === null) return;
    const done = this.#onReleased;
    this.#onReleased = null;
    done();
  }
}

class ByteConnection {
  number = 0;
  dirty = false;
  /** More than half the maximum was unread, and `onDrain` is owed. */
  overfull = false;
  stall: Timer | null = null;
  /** Set once the client has ended its side: drops it when nothing moves any more. */
  halfOpen: Timer | null = null;
  readonly socket: SocketConnection;

  constructor(socket: ReadSocket, remote: string, pool: WriterPool, owner: SocketOwner) {
    this.socket = new SocketConnection(socket, remote, owner, pool);
  }
}
