// Hot file: begin, end and flush run per frame. No allocation in them. Watched by bench/transport.mjs.
import { connect as connectTls, type PeerCertificate } from "node:tls";
import { assert, KiB, MiB, type ByteWriter } from "../../base/index.js";
import { parseAddress, type ReplicaId } from "../../model/index.js";
import type { EventLog, FrameHandlers, FramePort, Scheduler } from "../port.js";
import { FaultLog } from "./fault-log.js";
import { FrameConnection, type FrameConnectionOwner } from "./frame-connection.js";
import { FRAME_BYTES_MAX, FRAME_KIND_MAX, type ClusterKey } from "./frame.js";
import { HeldPool } from "./held-pool.js";
import type { Hello } from "./hello.js";
import { connectPlain, type ReadSocket } from "./plain-reads.js";
import type { BackoffOptions } from "./redial.js";
import type { TlsCredentials } from "./tls-credentials.js";
import { WriterPool } from "./writer-pool.js";

/** What all TCP frame ports may be told. */
export interface TcpFramePortOptions extends BackoffOptions {
  /** Unsent bytes of one link at most; above it `begin` returns null. */
  readonly inFlightBytesMax: number;
  /** Longest frame taken from the other side, header included; a longer one closes the connection. */
  readonly frameBytesMax: number;
  /** The other side of a connection that was accepted, or has been made, must have introduced itself within this. */
  readonly helloTimeoutMs: number;
  /** A connection that is dialled must have been made within this, or it is dialled anew. */
  readonly dialTimeoutMs: number;
  /** How long `close` and `disconnect` wait for output to leave and for the other side to close. */
  readonly lingerMs: number;
}

export const TCP_FRAME_PORT_DEFAULTS = Object.freeze({
  frameBytesMax: FRAME_BYTES_MAX,
  helloTimeoutMs: 5000,
  dialTimeoutMs: 2000,
  lingerMs: 250,
  backoffMinMs: 20,
  backoffMaxMs: 1000,
}) satisfies Omit<TcpFramePortOptions, "inFlightBytesMax">;

/** What all TCP frame ports are given. */
export interface TcpFramePortComponents {
  readonly scheduler: Scheduler;
  readonly events: EventLog;
}

/** How a dialled connection is encrypted, and whom it must lead to. */
export interface TlsDial {
  readonly credentials: TlsCredentials;
  /** The replica that `mismatch` makes sure of; 0 if any will do. */
  readonly replica: ReplicaId;
  /** What is wrong with the certificate shown, which was verified already. */
  mismatch(cert: PeerCertificate, host: string): Error | undefined;
}

/**
 * What the TCP ports have in common: a table of links, frames that collect per link and leave at `flush`, and an orderly
 * end. How links come about, and what their numbers mean, is the subclasses'.
 */
export abstract class TcpFramePort implements FramePort, FrameConnectionOwner {
  protected readonly scheduler: Scheduler;
  protected readonly events: EventLog;
  protected readonly faults: FaultLog;
  protected readonly options: TcpFramePortOptions;
  /** Links that are up. */
  protected readonly links = new Map<number, FrameConnection>();
  /** Every connection whose handle is not gone yet. */
  protected readonly connections = new Set<FrameConnection>();
  protected handlers: FrameHandlers | null = null;
  protected closing = false;
  readonly #pool: WriterPool;
  readonly #heldPool = new HeldPool();
  readonly #stallMs: number;
  readonly #dirty: FrameConnection[] = [];
  #writing: FrameConnection | null = null;
  #onReleased: (() => void) | null = null;

  protected constructor(components: TcpFramePortComponents, options: TcpFramePortOptions, stallMs = Infinity) {
    assert(
      options.inFlightBytesMax >= 1 * KiB,
      `inFlightBytesMax must be at least 1 KiB, got ${options.inFlightBytesMax}`,
    );
    this.scheduler = components.scheduler;
    this.events = components.events;
    this.faults = new FaultLog(components.events, components.scheduler.clock);
    this.options = options;
    this.#stallMs = stallMs;
    // A frame is begun below the maximum and may exceed it by its own length; the spare MiB lets `end` see an oversize one.
    this.#pool = new WriterPool(options.inFlightBytesMax + FRAME_BYTES_MAX + 1 * MiB);
  }

  start(handlers: FrameHandlers): void {
    assert(this.handlers === null && !this.closing, "a port is started once");
    this.handlers = handlers;
    this.open();
  }

  begin(link: number, kind: number): ByteWriter | null {
    assert(this.#writing === null, "begin before the end of the last frame");
    assert(kind >= 1 && kind <= FRAME_KIND_MAX, `frame kinds are 1 to ${FRAME_KIND_MAX}, got ${kind}`);
    const connection = this.links.get(link);
    if (connection === undefined) return null;
    const writer = connection.begin(kind);
    if (writer === null) return null;
    this.#writing = connection;
    if (!connection.dirty) {
      connection.dirty = true;
      this.#dirty.push(connection);
    }
    return writer;
  }

  end(): void {
    const connection = this.#writing;
    assert(connection !== null, "end without begin");
    this.#writing = null;
    connection.end();
  }

  flush(): void {
    assert(this.#writing === null, "flush inside a frame");
    const dirty = this.#dirty;
    for (let i = 0; i < dirty.length; i++) {
      const connection = dirty[i] as FrameConnection;
      connection.dirty = false;
      connection.flush();
    }
    dirty.length = 0;
  }

  inFlightBytes(link: number): number {
    return this.links.get(link)?.inFlightBytes ?? 0;
  }

  pause(link: number): void {
    this.links.get(link)?.pause();
  }

  resume(link: number): void {
    this.links.get(link)?.resume();
  }

  disconnect(link: number, reason: string): void {
    const connection = this.links.get(link);
    if (connection === undefined) return;
    this.events.info("link-disconnected", { link, remote: connection.remote, reason });
    connection.destroy(reason);
  }

  close(done: () => void): void {
    assert(!this.closing, "a port is closed once");
    this.flush();
    this.closing = true;
    this.links.clear();
    const untilMs = this.scheduler.clock.monotonicMs() + this.options.lingerMs;
    for (const connection of this.connections) connection.close(untilMs);
    this.shut(() => {
      if (this.connections.size === 0) done();
      else this.#onReleased = done;
    });
  }

  /** Starts whatever makes links. */
  protected abstract open(): void;
  /** Stops making links; `done` when listening sockets and timers are gone. Never calls back at once. */
  protected abstract shut(done: () => void): void;

  abstract onHello(connection: FrameConnection, hello: Hello): string | null;
  abstract onClosed(connection: FrameConnection, cause: string): void;

  onFrame(
    connection: FrameConnection,
    kind: number,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
  ): void {
    this.handlers?.onFrame(connection.link, kind, bytes, view, start, end);
  }

  onDrain(connection: FrameConnection): void {
    if (!this.closing) this.handlers?.onDrain(connection.link);
  }

  onStalled(connection: FrameConnection): void {
    const detail = `${connection.inFlightBytes} bytes unread, the maximum is ${this.options.inFlightBytesMax}`;
    this.faults.warn("slow-reader-disconnected", "slow-reader", {
      link: connection.link,
      remote: connection.remote,
      detail,
    });
    connection.destroy("slow reader");
  }

  onReleased(connection: FrameConnection): void {
    this.connections.delete(connection);
    if (this.connections.size > 0 || this.#onReleased === null) return;
    const done = this.#onReleased;
    this.#onReleased = null;
    done();
  }

  protected adopt(
    socket: ReadSocket,
    remote: string,
    cluster: ClusterKey | null,
    helloTimeoutMs: number,
    certifiedReplica: ReplicaId,
  ): FrameConnection {
    const connection = new FrameConnection({
      socket,
      remote,
      owner: this,
      pool: this.#pool,
      faults: this.faults,
      scheduler: this.scheduler,
      cluster,
      inFlightBytesMax: this.options.inFlightBytesMax,
      frameBytesMax: this.options.frameBytesMax,
      helloTimeoutMs,
      stallMs: this.#stallMs,
      heldPool: this.#heldPool,
      certifiedReplica,
    });
    this.connections.add(connection);
    return connection;
  }

  /** Dials and introduces itself: with TLS behind the handshake, so that nobody but the right side reads it. */
  protected dial(address: string, cluster: ClusterKey | null, hello: Hello, tls: TlsDial | null): FrameConnection {
    const { host, port } = parseAddress(address);
    const { dialTimeoutMs, helloTimeoutMs } = this.options;
    if (tls === null) {
      const dialled = connectPlain(host, port);
      const connection = this.adopt(dialled, address, cluster, dialTimeoutMs, 0);
      // A busy machine answers, and takes its time to say who it is.
      dialled.socket.once("connect", () => connection.awaitHello(helloTimeoutMs));
      connection.introduce(hello);
      return connection;
    }
    const socket = connectTls({
      host,
      port,
      secureContext: tls.credentials.context,
      // Said openly: an environment variable would change the default.
      rejectUnauthorized: true,
      checkServerIdentity: (name, cert) => tls.mismatch(cert, name),
    });
    const connection = this.adopt({ socket, reads: null }, address, cluster, dialTimeoutMs, tls.replica);
    socket.once("connect", () => connection.awaitHello(helloTimeoutMs));
    socket.once("secureConnect", () => connection.introduce(hello));
    return connection;
  }

  /** Puts a connection on the table. The caller has seen to it that the link is not there. */
  protected bringUp(link: number, connection: FrameConnection): void {
    assert(!this.links.has(link), `link ${link} is up already`);
    connection.establish(link);
    this.links.set(link, connection);
    this.handlers?.onLink(link, true);
  }

  /** Takes a connection off the table, if it stands there. */
  protected takeDown(connection: FrameConnection): boolean {
    if (this.links.get(connection.link) !== connection) return false;
    this.links.delete(connection.link);
    if (!this.closing) this.handlers?.onLink(connection.link, false);
    return true;
  }
}
