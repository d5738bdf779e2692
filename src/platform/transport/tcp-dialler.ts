import { MiB, Prng } from "../../base/index.js";
import type { ReplicaId } from "../../model/index.js";
import type { FrameConnection } from "./frame-connection.js";
import { clusterKey, NO_CLUSTER, type ClusterKey } from "./frame.js";
import { HelloRole, roleName, type Hello, type Login } from "./hello.js";
import { serverMismatch } from "./certificate-name.js";
import { Redial } from "./redial.js";
import {
  TCP_FRAME_PORT_DEFAULTS,
  TcpFramePort,
  type TcpFramePortComponents,
  type TcpFramePortOptions,
  type TlsDial,
} from "./tcp-frame-port.js";
import type { TlsCredentials } from "./tls-credentials.js";

export const TCP_DIALLER_DEFAULTS: TcpFramePortOptions = Object.freeze({
  ...TCP_FRAME_PORT_DEFAULTS,
  inFlightBytesMax: 16 * MiB,
});

export interface TcpDiallerInit extends TcpFramePortComponents {
  /** Null: whichever cluster answers first. All addresses must then belong to that one. */
  readonly clusterId: string | null;
  /** Client addresses of replicas, `host:port` each. */
  readonly addresses: readonly string[];
  /** Seed of the backoff's jitter. */
  readonly seed: number;
  /** The certificate of each address must be good for its host, or name a replica of the trusted cluster. */
  readonly tls?: TlsCredentials | undefined;
  /** By default the cluster whose id was given. */
  readonly trustedCluster?: string | undefined;
  /** Told to each replica once its certificate is verified, if there is TLS. */
  readonly login?: Login | undefined;
  /** A replica did not let us in. It is dialled again, but not soon. Not called inside a call. */
  readonly onRefused?: (link: number) => void;
  readonly options?: Partial<TcpFramePortOptions>;
}

interface Target {
  readonly link: number;
  readonly address: string;
  readonly redial: Redial;
  connection: FrameConnection | null;
  /** Whether the log has a line about this outage. */
  complained: boolean;
  /** Whether it has just turned us away. */
  refused: boolean;
}

/** The wait after a refusal, at least. */
const REFUSED_WAIT_MS = 2000;

/** A client's side: keeps a connection to every address. Links are indices of the address list. */
export class TcpDialler extends TcpFramePort {
  readonly #prng: Prng;
  readonly #targets: Target[] = [];
  readonly #replicas: ReplicaId[] = [];
  #addresses: readonly string[];
  #cluster: ClusterKey | null;
  readonly #tls: TlsDial | null;
  readonly #login: Login | undefined;
  readonly #onRefused: (link: number) => void;

  constructor(init: TcpDiallerInit) {
    super(init, { ...TCP_DIALLER_DEFAULTS, ...init.options });
    this.#prng = new Prng(init.seed);
    this.#addresses = [...init.addresses];
    const { clusterId, tls: credentials } = init;
    this.#cluster = clusterId === null ? null : clusterKey(clusterId);
    const trusted = init.trustedCluster ?? clusterId;
    const mismatch: TlsDial["mismatch"] = (cert, host) => serverMismatch(cert, host, trusted);
    this.#tls = credentials === undefined ? null : { credentials, replica: 0, mismatch };
    this.#login = init.login;
    this.#onRefused = init.onRefused ?? (() => undefined);
  }

  /** The cluster's id: as given, or as the first replica to answer said; null until then. */
  get clusterId(): string | null {
    return this.#cluster?.id ?? null;
  }

  get addresses(): readonly string[] {
    return this.#addresses;
  }

  /** The replica behind a link, as it said when the link last came up; 0 if it never did. */
  replicaOf(link: number): ReplicaId {
    return this.#replicas[link] ?? 0;
  }

  /**
   * Replaces the address list. A link whose address stays the same is left alone; one whose address changed or is gone goes
   * down and, if it has a new address, is dialled there.
   */
  setAddresses(addresses: readonly string[]): void {
    this.#addresses = [...addresses];
    if (this.handlers === null || this.closing) return;
    for (const target of this.#targets.splice(0)) {
      if (addresses[target.link] === target.address) {
        this.#targets[target.link] = target;
        continue;
      }
      this.#replicas[target.link] = 0;
      target.redial.stop();
      target.connection?.destroy("its address is no longer in use");
    }
    this.#dialAll();
  }

  onHello(connection: FrameConnection, hello: Hello): string | null {
    const target = this.#targetOf(connection);
    if (target === undefined) return "its address is no longer in use";
    if (hello.role === HelloRole.refusal) return this.#onRefusal(target);
    if (hello.role !== HelloRole.server) return `${connection.remote} is not a client port but ${roleName(hello.role)}`;
    const cluster = this.#cluster ?? hello.cluster;
    if (cluster.id === NO_CLUSTER.id) return "the replica does not say which cluster it belongs to";
    // Two addresses of different clusters may have been dialled before either answered.
    if (cluster.id !== hello.cluster.id) return `it belongs to cluster ${hello.cluster.id}, ours is ${cluster.id}`;
    this.#cluster = cluster;
    connection.adoptCluster(cluster);
    this.#replicas[target.link] = hello.replica;
    target.redial.succeeded();
    target.complained = false;
    this.#displace(target.link);
    this.bringUp(target.link, connection);
    return null;
  }

  onClosed(connection: FrameConnection, cause: string): void {
    this.takeDown(connection);
    const target = this.#targetOf(connection);
    if (target === undefined || this.closing) return;
    target.connection = null;
    if (!target.complained) this.events.info("replica-unreachable", { address: target.address, cause });
    target.complained = true;
    target.redial.failed(target.refused ? REFUSED_WAIT_MS : 0);
    target.refused = false;
  }

  protected open(): void {
    this.#dialAll();
  }

  protected shut(done: () => void): void {
    for (const target of this.#targets) target.redial.stop();
    setImmediate(done);
  }

  /** An address changed while the old one's connection is still going down: the table has one entry a link. */
  #displace(link: number): void {
    const old = this.links.get(link);
    if (old !== undefined) this.takeDown(old);
  }

  #targetOf(connection: FrameConnection): Target | undefined {
    return this.#targets.find((target) => target.connection === connection);
  }

  #dialAll(): void {
    for (let link = 0; link < this.#addresses.length; link++) {
      if (this.#targets[link] !== undefined) continue;
      const redial = new Redial(this.scheduler, this.#prng, this.options, () => this.#dial(link));
      const address = this.#addresses[link] as string;
      this.#targets[link] = { link, address, redial, connection: null, complained: false, refused: false };
      this.#dial(link);
    }
  }

  #dial(link: number): void {
    const target = this.#targets[link];
    if (target === undefined || target.connection !== null || this.closing) return;
    const hello = {
      cluster: this.#cluster ?? NO_CLUSTER,
      role: HelloRole.client,
      replica: 0,
      checksum: 0,
      incarnation: 0,
      login: this.#login,
    };
    target.connection = this.dial(target.address, this.#cluster, hello, this.#tls);
    target.connection.takeStrangers();
  }

  /** Asking again at once would get the same answer, and costs the replica the check of a password. */
  #onRefusal(target: Target): string {
    target.refused = true;
    this.#onRefused(target.link);
    return `${target.address} does not let this client in`;
  }
}
