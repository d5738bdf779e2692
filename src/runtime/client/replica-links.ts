// Hot file: every frame of a TCP client passes here. No allocation per frame.
import { assert, type ByteWriter, decodeUtf8, KiB } from "../../base/index.js";
import {
  checkBounds,
  FrameKind,
  GROUPS_CONFIGURED_MAX,
  parseAddress,
  REPLICA_ID_MAX,
  type ReplicaId,
} from "../../model/index.js";
import type { FrameHandlers, FramePort, Scheduler, Turn } from "../../platform/index.js";

/** A port that dials addresses: its links are their indices, and it can say which replica is behind one that is up. */
export interface AddressPort extends FramePort {
  replicaOf(link: number): ReplicaId;
}

/** A replica and where native clients reach it. */
export interface ClientAddress {
  readonly id: ReplicaId;
  readonly client: string;
  /** With groups: where they reach its members, from that of the first group on; all replicas have equally many. */
  readonly members?: readonly { readonly client: string }[] | undefined;
  /** Of the first in a list, if the cluster is one of opt-PSMR with groups. */
  readonly optimistic?: Optimism | undefined;
}

/** What clients of opt-PSMR have to know of a cluster beside its service. */
export interface Optimism {
  /** Who sends a command again that failed its safety check. */
  readonly resubmit: "replicas" | "client";
  /** Where the keys of `btree` are cut; absent for equal parts. */
  readonly bounds?: readonly string[] | undefined;
}

/** Longest list of addresses in a welcome. */
const ADDRESSES_BYTES_MAX = 64 * KiB;

/** The cluster's client addresses in a welcome frame's body; null if they are not there or malformed. */
export function welcomeAddresses(bytes: Uint8Array, start: number, end: number): ClientAddress[] | null {
  if (end - start < 8 || end - start > ADDRESSES_BYTES_MAX) return null;
  try {
    const list: unknown = JSON.parse(decodeUtf8(bytes, start + 8, end));
    if (!Array.isArray(list) || list.length < 1 || list.length > REPLICA_ID_MAX) return null;
    const addresses = list.map((entry: unknown) => addressOf(entry));
    const groups = addresses[0]?.members?.length;
    return addresses.every(({ members }) => members?.length === groups) ? addresses : null;
  } catch {
    return null;
  }
}

/** Throws for what is no address of a replica. */
function addressOf(entry: unknown): ClientAddress {
  const { id, client, members, optimistic } = entry as Record<"id" | "client" | "members" | "optimistic", unknown>;
  if (typeof id !== "number" || !Number.isInteger(id) || id < 1 || id > REPLICA_ID_MAX) throw new TypeError("id");
  if (typeof client !== "string") throw new TypeError("client");
  parseAddress(client);
  if (members === undefined) return { id, client };
  if (!Array.isArray(members) || members.length < 2 || members.length > GROUPS_CONFIGURED_MAX) {
    throw new TypeError("members");
  }
  const clients = (members as unknown[]).map((member) => {
    const { client: address } = member as { client: unknown };
    if (typeof address !== "string") throw new TypeError("members");
    parseAddress(address);
    return { client: address };
  });
  if (optimistic === undefined) return { id, client, members: clients };
  return { id, client, members: clients, optimistic: optimismOf(optimistic, clients.length) };
}

/** Throws for what no cluster with so many groups says. */
function optimismOf(value: unknown, groups: number): Optimism {
  const { resubmit, bounds } = value as Record<"resubmit" | "bounds", unknown>;
  if (resubmit !== "replicas" && resubmit !== "client") throw new TypeError("resubmit");
  if (bounds === undefined) return { resubmit };
  if (!Array.isArray(bounds) || !bounds.every((bound) => typeof bound === "string")) throw new TypeError("bounds");
  checkBounds(groups, bounds);
  return { resubmit, bounds };
}

/**
 * Gives a port that dials addresses the links of a block client: replica ids. It runs before its user does, from `open`
 * on, because only the replicas' welcome tells which replicas there are; `start` then tells what is up.
 *
 * Two addresses may lead to one replica (a name and a number): one of them carries its link.
 */
export class ReplicaLinks implements FramePort {
  readonly #port: AddressPort;
  readonly #started: Turn;
  #handlers: FrameHandlers | null = null;
  /** Replicas whose link was up before `start`, until the user is told. */
  readonly #early: ReplicaId[] = [];
  /** The replica behind each address, 0 while it is down. */
  readonly #replicas: ReplicaId[] = [];
  /** The address that carries each replica's link, -1 while it is down. */
  readonly #carriers: number[] = Array.from({ length: REPLICA_ID_MAX + 1 }, () => -1);

  constructor(port: AddressPort, scheduler: Scheduler) {
    this.#port = port;
    this.#started = scheduler.turn(() => {
      for (const replica of this.#early.splice(0)) {
        if (this.#carriers[replica] !== -1) this.#handlers?.onLink(replica, true);
      }
    });
  }

  /** Starts dialling. `onWelcome` gets the addresses in every well-formed welcome. */
  open(onWelcome: (addresses: readonly ClientAddress[]) => void): void {
    this.#port.start({
      onLink: (index, up) => this.#onLink(index, up),
      onFrame: (index, kind, bytes, view, start, end) => {
        const replica = this.#replicas[index] ?? 0;
        if (replica === 0 || this.#carriers[replica] !== index) return;
        if (kind === FrameKind.welcome) {
          const addresses = welcomeAddresses(bytes, start, end);
          if (addresses !== null) onWelcome(addresses);
        }
        this.#handlers?.onFrame(replica, kind, bytes, view, start, end);
      },
      onDrain: (index) => {
        const replica = this.#replicas[index] ?? 0;
        if (replica !== 0 && this.#carriers[replica] === index) this.#handlers?.onDrain(replica);
      },
    });
  }

  start(handlers: FrameHandlers): void {
    assert(this.#handlers === null, "a port is started once");
    this.#handlers = handlers;
    for (const replica of this.#replicas) if (replica > 0 && !this.#early.includes(replica)) this.#early.push(replica);
    this.#started.request();
  }

  begin(link: ReplicaId, kind: number): ByteWriter | null {
    const index = this.#carriers[link] ?? -1;
    return index === -1 ? null : this.#port.begin(index, kind);
  }

  end(): void {
    this.#port.end();
  }

  flush(): void {
    this.#port.flush();
  }

  inFlightBytes(link: ReplicaId): number {
    const index = this.#carriers[link] ?? -1;
    return index === -1 ? 0 : this.#port.inFlightBytes(index);
  }

  pause(link: ReplicaId): void {
    const index = this.#carriers[link] ?? -1;
    if (index !== -1) this.#port.pause(index);
  }

  resume(link: ReplicaId): void {
    const index = this.#carriers[link] ?? -1;
    if (index !== -1) this.#port.resume(index);
  }

  disconnect(link: ReplicaId, reason: string): void {
    const index = this.#carriers[link] ?? -1;
    if (index !== -1) this.#port.disconnect(index, reason);
  }

  close(done: () => void): void {
    this.#handlers = null;
    this.#port.close(done);
  }

  #onLink(index: number, up: boolean): void {
    const replica = up ? this.#port.replicaOf(index) : (this.#replicas[index] ?? 0);
    if (replica < 1 || replica > REPLICA_ID_MAX) return;
    this.#replicas[index] = up ? replica : 0;
    if (up) {
      if (this.#carriers[replica] !== -1) return;
      this.#carriers[replica] = index;
      this.#handlers?.onLink(replica, true);
      return;
    }
    if (this.#carriers[replica] !== index) return;
    this.#carriers[replica] = -1;
    this.#handlers?.onLink(replica, false);
    const other = this.#replicas.indexOf(replica);
    if (other === -1) return;
    this.#carriers[replica] = other;
    this.#handlers?.onLink(replica, true);
  }
}
