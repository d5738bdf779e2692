import { assert, MiB, Prng } from "../../base/index.js";
import type { ReplicaId } from "../../model/index.js";
import { Acceptor, remoteAddress, type ListenAddress, type ListenDone } from "./acceptor.js";
import type { FrameConnection } from "./frame-connection.js";
import { clusterKey, type ClusterKey } from "./frame.js";
import { HelloRole, roleName, type Hello } from "./hello.js";
import { certifiedReplica, replicaMismatch } from "./certificate-name.js";
import type { ReadSocket } from "./plain-reads.js";
import { Redial } from "./redial.js";
import {
  TCP_FRAME_PORT_DEFAULTS,
  TcpFramePort,
  type TcpFramePortComponents,
  type TcpFramePortOptions,
  type TlsDial,
} from "./tcp-frame-port.js";
import type { TlsCredentials } from "./tls-credentials.js";

export const TCP_PEERS_DEFAULTS: TcpFramePortOptions = Object.freeze({
  ...TCP_FRAME_PORT_DEFAULTS,
  inFlightBytesMax: 32 * MiB,
});

/** Accepted connections at most, for each peer: its present one, one that replaces it, a knock, and room for strangers. */
const CONNECTIONS_PER_PEER_MAX = 8;

export interface TcpPeersInit extends TcpFramePortComponents {
  readonly self: ReplicaId;
  readonly clusterId: string;
  /** `clusterChecksum` of the configuration: peers that were configured differently must not talk. */
  readonly clusterChecksum: number;
  /** A number that differs whenever this process was started anew. */
  readonly incarnation: number;
  readonly listen: ListenAddress;
  /** Peer addresses of the other replicas, `host:port` each. An entry for `self` is ignored. */
  readonly peers: ReadonlyMap<ReplicaId, string>;
  /** Seed of the backoff's jitter. */
  readonly seed: number;
  /** With it, every replica proves by its certificate which one it is (`replicaUri`). */
  readonly tls?: TlsCredentials | undefined;
  readonly options?: Partial<TcpFramePortOptions>;
}

interface Peer {
  readonly id: ReplicaId;
  readonly address: string;
  /** Null for peers with a higher id: they dial us. */
  readonly redial: Redial | null;
  /** The connection that we are dialling or have dialled. */
  dialled: FrameConnection | null;
  /** The process that was last connected. */
  incarnation: number;
  /** Whether the log has a line about this outage. */
  complained: boolean;
}

/**
 * The replicas of a cluster among themselves: one duplex connection per pair. Links are replica ids.
 *
 * The replica with the higher id dials the one with the lower. If both dialled, two connections would meet half-way and
 * both sides would have to agree which one dies; this way there is one by construction. Its price is that a lower replica
 * which comes back could only wait to be dialled, so it *knocks*: it connects once to each higher one and says HELLO, and
 * the higher one forgets its backoff and dials at once.
 */
export class TcpPeers extends TcpFramePort {
  readonly #self: ReplicaId;
  readonly #cluster: ClusterKey;
  readonly #checksum: number;
  readonly #incarnation: number;
  readonly #acceptor: Acceptor;
  readonly #prng: Prng;
  readonly #addresses: ReadonlyMap<ReplicaId, string>;
  readonly #peers = new Map<ReplicaId, Peer>();
  readonly #knocks = new Set<FrameConnection>();
  readonly #connectionsMax: number;
  readonly #tls: TlsCredentials | null;

  constructor(init: TcpPeersInit) {
    super(init, { ...TCP_PEERS_DEFAULTS, ...init.options });
    this.#self = init.self;
    this.#cluster = clusterKey(init.clusterId);
    this.#checksum = init.clusterChecksum;
    this.#incarnation = init.incarnation;
    this.#prng = new Prng(init.seed);
    this.#addresses = init.peers;
    this.#connectionsMax = CONNECTIONS_PER_PEER_MAX * Math.max(init.peers.size, 1);
    this.#tls = init.tls ?? null;
    const tls = init.tls === undefined ? null : { credentials: init.tls, certificateNeeded: true };
    this.#acceptor = new Acceptor({ listen: init.listen, events: init.events, faults: this.faults, tls });
  }

  /** Binds the address. Peers that connect before `start` wait. */
  listen(done: ListenDone): void {
    this.#acceptor.listen(done);
  }

  /** The bound address as `host:port`, or null. */
  get address(): string | null {
    return this.#acceptor.bound;
  }

  onHello(connection: FrameConnection, hello: Hello): string | null {
    if (hello.role !== HelloRole.peer && hello.role !== HelloRole.knock) {
      return `${connection.remote} is ${roleName(hello.role)}, which has no business on the port of peers`;
    }
    if (this.#tls !== null && hello.replica !== connection.certifiedReplica) {
      return `it says to be replica ${hello.replica}, its certificate is that of replica ${connection.certifiedReplica}`;
    }
    if (hello.checksum !== this.#checksum) {
      const both = `${hello.checksum.toString(16)}, ours is ${this.#checksum.toString(16)}`;
      return `replica ${hello.replica} has another cluster configuration: its checksum is ${both}`;
    }
    if (this.#knocks.has(connection)) return this.#onKnockAnswered(connection);
    const peer = this.#peers.get(hello.replica);
    if (peer === undefined) return `replica ${hello.replica} is not among the peers of replica ${this.#self}`;
    if (hello.role === HelloRole.knock) return this.#onKnock(connection, peer, hello);
    const dialled = [...this.#peers.values()].find((candidate) => candidate.dialled === connection);
    if (dialled !== undefined && dialled !== peer) {
      return `${connection.remote} is replica ${peer.id}, configured as that of replica ${dialled.id}`;
    }
    if (dialled === undefined && peer.id < this.#self) {
      return `replica ${peer.id} has dialled replica ${this.#self}, but the higher id dials`;
    }
    const older = this.links.get(peer.id);
    if (older !== undefined) {
      // The peer would not connect anew if its end of the older one were any good.
      this.takeDown(older);
      older.destroy("replaced by a newer connection");
    }
    peer.redial?.succeeded();
    peer.incarnation = hello.incarnation;
    peer.complained = false;
    this.events.info("peer-up", { peer: peer.id, remote: connection.remote, incarnation: hello.incarnation });
    this.bringUp(peer.id, connection);
    return null;
  }

  onClosed(connection: FrameConnection, cause: string): void {
    this.#knocks.delete(connection);
    const wasUp = this.takeDown(connection);
    if (this.closing) return;
    if (wasUp) this.events.info("peer-down", { peer: connection.link, remote: connection.remote, cause });
    for (const peer of this.#peers.values()) {
      if (peer.dialled !== connection) continue;
      peer.dialled = null;
      if (!wasUp && !peer.complained) {
        peer.complained = true;
        this.events.info("peer-unreachable", { peer: peer.id, address: peer.address, cause });
      }
      peer.redial?.failed();
    }
  }

  protected open(): void {
    for (const [id, address] of this.#addresses) {
      if (id === this.#self) continue;
      assert(id >= 1, `replica ids are at least 1, got ${id}`);
      const dials = id < this.#self;
      const redial = dials ? new Redial(this.scheduler, this.#prng, this.options, () => this.#dial(id)) : null;
      this.#peers.set(id, { id, address, redial, dialled: null, incarnation: 0, complained: false });
      if (dials) this.#dial(id);
      else this.#knock(id, address);
    }
    this.#acceptor.start((accepted) => this.#accept(accepted));
  }

  protected shut(done: () => void): void {
    for (const peer of this.#peers.values()) peer.redial?.stop();
    this.#acceptor.close(done);
  }

  #dial(id: ReplicaId): void {
    const peer = this.#peers.get(id);
    if (peer === undefined || peer.dialled !== null || this.closing) return;
    peer.dialled = this.dial(peer.address, this.#cluster, this.#hello(HelloRole.peer), this.#tlsTo(id));
  }

  #knock(id: ReplicaId, address: string): void {
    this.#knocks.add(this.dial(address, this.#cluster, this.#hello(HelloRole.knock), this.#tlsTo(id)));
  }

  #tlsTo(replica: ReplicaId): TlsDial | null {
    const credentials = this.#tls;
    if (credentials === null) return null;
    return { credentials, replica, mismatch: (cert) => replicaMismatch(cert, this.#cluster.id, replica) };
  }

  /** A higher replica took our knock: nothing more is to be said on that connection. */
  #onKnockAnswered(connection: FrameConnection): null {
    connection.close(this.scheduler.clock.monotonicMs() + this.options.lingerMs);
    return null;
  }

  #onKnock(connection: FrameConnection, peer: Peer, hello: Hello): null {
    const present = this.links.get(peer.id);
    if (present !== undefined && peer.incarnation !== hello.incarnation) {
      // It was started anew: what still looks like a connection is one to a process that is gone.
      present.destroy(`replica ${peer.id} was started anew`);
    } else if (peer.dialled === null) peer.redial?.soon();
    connection.close(this.scheduler.clock.monotonicMs() + this.options.lingerMs);
    return null;
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
    if (this.#tls !== null && !this.#peers.has(certified)) {
      const detail = `its certificate names no other replica of cluster ${this.#cluster.id}`;
      this.faults.warn("connection-refused", "certificate", { remote, detail });
      socket.on("error", () => undefined);
      socket.destroy();
      return;
    }
    const connection = this.adopt(accepted, remote, this.#cluster, this.options.helloTimeoutMs, certified);
    connection.introduce(this.#hello(HelloRole.peer));
    connection.resume();
  }

  #hello(role: HelloRole): Hello {
    return {
      cluster: this.#cluster,
      role,
      replica: this.#self,
      checksum: this.#checksum,
      incarnation: this.#incarnation,
    };
  }
}
