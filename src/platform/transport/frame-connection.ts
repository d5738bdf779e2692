import type { ByteWriter } from "../../base/index.js";
import type { ReplicaId } from "../../model/index.js";
import type { Scheduler, Timer } from "../port.js";
import type { FaultLog } from "./fault-log.js";
import { closeFrame, FrameReader, openFrame, type ClusterKey, type FrameSink } from "./frame.js";
import type { HeldPool } from "./held-pool.js";
import { HELLO_FRAME_BYTES, HELLO_KIND, readHello, writeHello, type Hello } from "./hello.js";
import type { ReadSocket } from "./plain-reads.js";
import { SocketConnection, type SocketOwner } from "./socket-connection.js";
import type { WriterPool } from "./writer-pool.js";

/** The port that a connection belongs to. Nothing here is called inside a call of the port's. */
export interface FrameConnectionOwner {
  /** The other side has introduced itself. Returns what is wrong with that, or null to let the connection come up. */
  onHello(connection: FrameConnection, hello: Hello): string | null;
  onFrame(
    connection: FrameConnection,
    kind: number,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
  ): void;
  onDrain(connection: FrameConnection): void;
  /** It has been above its maximum of unsent bytes for longer than it may. */
  onStalled(connection: FrameConnection): void;
  onClosed(connection: FrameConnection, cause: string): void;
  onReleased(connection: FrameConnection): void;
}

export interface FrameConnectionInit {
  readonly socket: ReadSocket;
  readonly remote: string;
  readonly owner: FrameConnectionOwner;
  readonly pool: WriterPool;
  readonly faults: FaultLog;
  readonly scheduler: Scheduler;
  /** Our cluster; null while a client does not know it yet. */
  readonly cluster: ClusterKey | null;
  readonly inFlightBytesMax: number;
  /** Longest frame taken once the connection is up. */
  readonly frameBytesMax: number;
  /** The connection must be up this long after its start. */
  readonly helloTimeoutMs: number;
  /** Above the maximum of unsent bytes for this long: stalled. Infinity: for ever. */
  readonly stallMs: number;
  readonly heldPool: HeldPool;
  /** The replica that the other side's certificate names; 0 without one. */
  readonly certifiedReplica: ReplicaId;
}

/** A TCP connection that carries frames: HELLO first, then the hosts' frames. */
export class FrameConnection implements SocketOwner, FrameSink {
  /** The link number its port knows it by; -1 until it has one. */
  link = -1;
  /** True from a good HELLO until the connection is closed. */
  up = false;
  /** Whether the port has it on its list of connections to flush. */
  dirty = false;
  readonly remote: string;
  readonly certifiedReplica: ReplicaId;
  readonly #socket: SocketConnection;
  readonly #owner: FrameConnectionOwner;
  readonly #faults: FaultLog;
  readonly #scheduler: Scheduler;
  readonly #reader: FrameReader;
  readonly #inFlightBytesMax: number;
  readonly #frameBytesMax: number;
  readonly #stallMs: number;
  #cluster: ClusterKey | null;
  /** The other side has introduced itself. Until the port lets it in it may say nothing more. */
  #introduced = false;
  #helloTimer: Timer | null;
  #helloTimeoutMs = 0;
  #stallTimer: Timer | null = null;
  /** `begin` was refused, or more than half the maximum was unsent, and `onDrain` is owed. */
  #overfull = false;
  #frameStart = 0;
  #frameKind = 0;

  constructor(init: FrameConnectionInit) {
    this.remote = init.remote;
    this.certifiedReplica = init.certifiedReplica;
    this.#owner = init.owner;
    this.#faults = init.faults;
    this.#scheduler = init.scheduler;
    this.#inFlightBytesMax = init.inFlightBytesMax;
    this.#frameBytesMax = init.frameBytesMax;
    this.#stallMs = init.stallMs;
    this.#cluster = init.cluster;
    const { cluster, heldPool } = init;
    this.#reader = new FrameReader({ sink: this, cluster, lengthMax: HELLO_FRAME_BYTES, pool: heldPool });
    this.#socket = new SocketConnection(init.socket, init.remote, this, init.pool);
    this.#helloTimer = init.scheduler.timer(() => this.#helloTimedOut());
    this.awaitHello(init.helloTimeoutMs);
  }

  /** The other side has so long from now on to introduce itself, if it has not. */
  awaitHello(timeoutMs: number): void {
    this.#helloTimeoutMs = timeoutMs;
    this.#helloTimer?.set(this.#scheduler.clock.monotonicMs() + timeoutMs);
  }

  get inFlightBytes(): number {
    return this.#socket.inFlightBytes;
  }

  get open(): boolean {
    return this.#socket.open;
  }

  get cluster(): ClusterKey | null {
    return this.#cluster;
  }

  /** A first frame that names no cluster is taken: of a client that does not know ours, of a replica that refuses a client. */
  takeStrangers(): void {
    this.#reader.takesNoCluster = true;
  }

  /** Sends our HELLO. */
  introduce(hello: Hello): void {
    if (!this.#socket.open) return;
    writeHello(this.#socket.writer(), hello);
    this.#socket.flush();
  }

  /** A client that did not know its cluster has learned it. */
  adoptCluster(cluster: ClusterKey): void {
    this.#cluster = cluster;
    this.#reader.cluster = cluster;
  }

  /** Begins a frame, or returns null if the connection is down or has its maximum of unsent bytes. */
  begin(kind: number): ByteWriter | null {
    if (!this.up) return null;
    if (this.#socket.inFlightBytes >= this.#inFlightBytesMax) {
      this.#overfull = true;
      this.#watchStall();
      return null;
    }
    const writer = this.#socket.writer();
    this.#frameStart = openFrame(writer);
    this.#frameKind = kind;
    return writer;
  }

  end(): void {
    if (!this.up) return;
    closeFrame(this.#socket.writer(), this.#frameStart, this.#frameKind, this.#cluster as ClusterKey);
  }

  flush(): void {
    this.#socket.flush();
    if (this.#socket.inFlightBytes * 2 > this.#inFlightBytesMax) this.#overfull = true;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  destroy(cause: string): void {
    this.#silence();
    this.#socket.destroy(cause);
  }

  /** Sends what has collected and ends the connection, waiting at most until `atMs`. */
  close(atMs: number): void {
    this.#silence();
    this.#socket.end((expired) => this.#scheduler.timer(expired), atMs);
  }

  onBytes(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    const fault = this.#reader.push(bytes, view, start, end);
    if (fault !== null) this.#refuse(fault.reason, fault.detail);
  }

  onFrame(kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
    if (!this.#socket.open) return false;
    if (this.up && kind !== HELLO_KIND) {
      this.#owner.onFrame(this, kind, bytes, view, start, end);
      return this.#socket.open;
    }
    const hello = kind === HELLO_KIND && !this.#introduced ? readHello(bytes, view, start, end) : null;
    if (hello === null) {
      this.#refuse("hello", this.#complaint(kind));
      return false;
    }
    this.#introduced = true;
    const complaint = this.#owner.onHello(this, hello);
    if (complaint !== null) {
      this.#refuse("hello", complaint);
      return false;
    }
    return this.#socket.open;
  }

  /** The port lets the connection come up: frames of up to its maximum may follow. */
  establish(link: number): void {
    this.link = link;
    this.up = true;
    this.#helloTimer?.clear();
    this.#helloTimer = null;
    this.#reader.lengthMax = this.#frameBytesMax;
    this.#reader.takesNoCluster = false;
  }

  onWritten(): void {
    if (!this.#overfull || this.#socket.inFlightBytes * 2 >= this.#inFlightBytesMax) return;
    this.#overfull = false;
    this.#stallTimer?.clear();
    this.#stallTimer = null;
    if (this.up) this.#owner.onDrain(this);
  }

  onClosed(cause: string): void {
    this.#silence();
    this.#reader.close();
    this.#owner.onClosed(this, cause);
  }

  onReleased(): void {
    this.#owner.onReleased(this);
  }

  /** What is wrong with a frame that comes before the connection is up, or with a further HELLO. */
  #complaint(kind: number): string {
    if (!this.#introduced) return "the first frame is no valid HELLO";
    return kind === HELLO_KIND ? "a second HELLO on one connection" : "a frame came before it was let in";
  }

  #refuse(reason: string, detail: string): void {
    this.#faults.warn("connection-refused", reason, { remote: this.remote, detail });
    this.destroy(detail);
  }

  #helloTimedOut(): void {
    const afterMs = this.#helloTimeoutMs;
    const detail = this.#introduced ? `not let in within ${afterMs} ms` : `no HELLO within ${afterMs} ms`;
    this.#faults.warn("connection-refused", "hello", { remote: this.remote, detail });
    this.destroy(detail);
  }

  #watchStall(): void {
    if (this.#stallMs === Infinity || this.#stallTimer !== null) return;
    this.#stallTimer = this.#scheduler.timer(() => {
      this.#stallTimer = null;
      if (this.#overfull && this.up) this.#owner.onStalled(this);
    });
    this.#stallTimer.set(this.#scheduler.clock.monotonicMs() + this.#stallMs);
  }

  #silence(): void {
    this.up = false;
    this.#helloTimer?.clear();
    this.#stallTimer?.clear();
    this.#helloTimer = null;
    this.#stallTimer = null;
  }
}
