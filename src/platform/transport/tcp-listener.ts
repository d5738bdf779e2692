import { MiB } from "../../base/index.js";
import type { ReplicaId } from "../../model/index.js";
import type { Authenticator } from "../port.js";
import { Acceptor, remoteAddress, type ListenAddress, type ListenDone } from "./acceptor.js";
import { certifiedReplica, isCertified } from "./certificate-name.js";
import type { FrameConnection } from "./frame-connection.js";
import { clusterKey, NO_CLUSTER, type ClusterKey } from "./frame.js";
import { HelloRole, roleName, type Hello } from "./hello.js";
import type { ReadSocket } from "./plain-reads.js";
import {
  TCP_FRAME_PORT_DEFAULTS,
  TcpFramePort,
  type TcpFramePortComponents,
  type TcpFramePortOptions,
} from "./tcp-frame-port.js";
import type { TlsCredentials } from "./tls-credentials.js";

export interface TcpListenerOptions extends TcpFramePortOptions {
  /** Connections at most; a further one is closed with a log line. */
  readonly connectionsMax: number;
  /** A client that has left its maximum of unsent bytes unread for this long is disconnected. */
  readonly slowReaderMs: number;
  /** Where clients authenticate, connections that have not yet, at most; a further one drops the oldest that shows no password. */
  readonly strangersMax: number;
}

export const TCP_LISTENER_DEFAULTS: TcpListenerOptions = Object.freeze({
  ...TCP_FRAME_PORT_DEFAULTS,
  inFlightBytesMax: 16 * MiB,
  connectionsMax: 10_000,
  slowReaderMs: 5000,
  strangersMax: 256,
});

export interface TcpListenerInit extends TcpFramePortComponents {
  readonly self: ReplicaId;
  readonly clusterId: string;
  readonly listen: ListenAddress;
  readonly tls?: TlsCredentials | undefined;
  /** With it nobody is let in but who shows a certificate that the port verifies, or logs in. */
  readonly authenticator?: Authenticator | undefined;
  readonly options?: Partial<TcpListenerOptions>;
}

/** The port of a replica on which native clients arrive. Links are connection serials, which rise and are never reused. */
export class TcpListener extends TcpFramePort {
  readonly #acceptor: Acceptor;
  readonly #cluster: ClusterKey;
  readonly #hello: Hello;
  readonly #connectionsMax: number;
  readonly #authenticator: Authenticator | null;
  /** Connections that are not let in yet, the oldest first; with an authenticator only. */
  readonly #strangers = new Set<FrameConnection>();
  readonly #strangersMax: number;
  /** Those among them whose password is being looked at: they wait through no fault of their own, and are not dropped. */
  readonly #asked = new WeakSet<FrameConnection>();
  /** Those among them whose certificate lets them in. */
  readonly #certified = new WeakSet<FrameConnection>();
  #serial = 0;

  constructor(init: TcpListenerInit) {
    const options = { ...TCP_LISTENER_DEFAULTS, ...init.options };
    super(init, options, options.slowReaderMs);
    this.#connectionsMax = options.connectionsMax;
    this.#cluster = clusterKey(init.clusterId);
    this.#hello = { cluster: this.#cluster, role: HelloRole.server, replica: init.self, checksum: 0, incarnation: 0 };
    this.#strangersMax = options.strangersMax;
    this.#authenticator = init.authenticator ?? null;
    const tls = init.tls === undefined ? null : { credentials: init.tls, certificateNeeded: false };
    this.#acceptor = new Acceptor({ listen: init.listen, events: init.events, faults: this.faults, tls });
  }

  /** Binds the address. Clients that connect before `start` wait. */
  listen(done: ListenDone): void {
    this.#acceptor.listen(done);
  }

  /** The bound address as `host:port`, or null. */
  get address(): string | null {
    return this.#acceptor.bound;
  }

  onHello(connection: FrameConnection, hello: Hello): string | null {
    if (hello.role !== HelloRole.client) {
      return `${roleName(hello.role)} (id ${hello.replica}) came to the client port`;
    }
    if (this.#authenticator === null || this.#certified.has(connection)) this.#letIn(connection);
    else if (hello.login === undefined) this.#turnAway(connection, "it shows no password and no valid certificate");
    else {
      const { user, password } = hello.login;
      this.#asked.add(connection);
      this.#authenticator.verify(user, password, connection.remote, (accepted) => {
        if (!connection.open || this.closing) return;
        if (accepted) this.#letIn(connection);
        else this.#turnAway(connection, null);
      });
    }
    return null;
  }

  onClosed(connection: FrameConnection, _cause: string): void {
    this.#strangers.delete(connection);
    this.takeDown(connection);
  }

  protected open(): void {
    this.#acceptor.start((accepted) => this.#accept(accepted));
  }

  protected shut(done: () => void): void {
    this.#acceptor.close(done);
  }

  #accept(accepted: ReadSocket): void {
    const { socket } = accepted;
    const remote = remoteAddress(socket);
    if (this.connections.size >= this.#connectionsMax) {
      const detail = `there are ${this.connections.size} connections, the maximum is ${this.#connectionsMax}`;
      this.faults.warn("connection-refused", "connections", { remote, detail });
      socket.destroy();
      return;
    }
    const certified = certifiedReplica(socket, this.#cluster.id);
    const connection = this.adopt(accepted, remote, this.#cluster, this.options.helloTimeoutMs, certified);
    connection.takeStrangers();
    if (this.#authenticator === null) connection.introduce(this.#hello);
    else {
      if (isCertified(socket)) this.#certified.add(connection);
      this.#strangers.add(connection);
      if (this.#strangers.size > this.#strangersMax) this.#dropStranger();
    }
    connection.resume();
  }

  /** Where clients authenticate, a replica introduces itself only to those it lets in. */
  #letIn(connection: FrameConnection): void {
    this.#strangers.delete(connection);
    if (this.#authenticator !== null) connection.introduce(this.#hello);
    this.bringUp(++this.#serial, connection);
  }

  /** `reason` null: the authenticator has logged it. */
  #turnAway(connection: FrameConnection, reason: string | null): void {
    this.#strangers.delete(connection);
    if (reason !== null) {
      this.faults.warn("authentication-failed", "missing", { remote: connection.remote, detail: reason });
    }
    connection.introduce({ cluster: NO_CLUSTER, role: HelloRole.refusal, replica: 0, checksum: 0, incarnation: 0 });
    connection.close(this.scheduler.clock.monotonicMs() + this.options.lingerMs);
  }

  #dropStranger(): void {
    for (const oldest of this.#strangers) {
      if (this.#asked.has(oldest)) continue;
      this.#strangers.delete(oldest);
      const detail = `more than ${this.#strangersMax} connections are not authenticated`;
      this.faults.warn("connection-refused", "strangers", { remote: oldest.remote, detail });
      oldest.destroy(detail);
      return;
    }
  }
}
