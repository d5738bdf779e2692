import type { Socket } from "node:net";
import { MiB } from "../../base/index.js";
import type { ReplicaId } from "../../model/index.js";
import { Acceptor, remoteAddress, type ListenAddress, type ListenDone } from "./acceptor.js";
import type { FrameConnection } from "./frame-connection.js";
import { clusterKey, type ClusterKey } from "./frame.js";
import { HelloRole, roleName, type Hello } from "./hello.js";
import {
  TCP_FRAME_PORT_DEFAULTS,
  TcpFramePort,
  type TcpFramePortComponents,
  type TcpFramePortOptions,
} from "./tcp-frame-port.js";

export interface TcpListenerOptions extends TcpFramePortOptions {
  /** Connections at most; a further one is closed with a log line. */
  readonly connectionsMax: number;
  /** A client that has left its maximum of unsent bytes unread for this long is disconnected. */
  readonly slowReaderMs: number;
}

export const TCP_LISTENER_DEFAULTS: TcpListenerOptions = Object.freeze({
  ...TCP_FRAME_PORT_DEFAULTS,
  inFlightBytesMax: 16 * MiB,
  connectionsMax: 10_000,
  slowReaderMs: 5000,
});

export interface TcpListenerInit extends TcpFramePortComponents {
  readonly self: ReplicaId;
  readonly clusterId: string;
  readonly listen: ListenAddress;
  readonly options?: Partial<TcpListenerOptions>;
}

/** The port of a replica on which native clients arrive. Links are connection serials, which rise and are never reused. */
export class TcpListener extends TcpFramePort {
  readonly #acceptor: Acceptor;
  readonly #cluster: ClusterKey;
  readonly #hello: Hello;
  readonly #connectionsMax: number;
  #serial = 0;

  constructor(init: TcpListenerInit) {
    const options = { ...TCP_LISTENER_DEFAULTS, ...init.options };
    super(init, options, options.slowReaderMs);
    this.#connectionsMax = options.connectionsMax;
    this.#cluster = clusterKey(init.clusterId);
    this.#hello = { cluster: this.#cluster, role: HelloRole.server, replica: init.self, checksum: 0, incarnation: 0 };
    this.#acceptor = new Acceptor(init.listen, init.events);
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
    this.bringUp(++this.#serial, connection);
    return null;
  }

  onClosed(connection: FrameConnection, _cause: string): void {
    this.takeDown(connection);
  }

  protected open(): void {
    this.#acceptor.start((socket) => this.#accept(socket));
  }

  protected shut(done: () => void): void {
    this.#acceptor.close(done);
  }

  #accept(socket: Socket): void {
    const remote = remoteAddress(socket);
    if (this.connections.size >= this.#connectionsMax) {
      const detail = `there are ${this.connections.size} connections, the maximum is ${this.#connectionsMax}`;
      this.faults.warn("connection-refused", "connections", { remote, detail });
      socket.destroy();
      return;
    }
    const connection = this.adopt(socket, remote, this.#cluster, this.options.helloTimeoutMs);
    connection.takeStrangers();
    connection.introduce(this.#hello);
    connection.resume();
  }
}
