import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { AuthenticationError, groupName, SynodError, type ReplicaId } from "../model/index.js";
import { SystemScheduler, TcpDialler } from "../platform/index.js";
import {
  accessOf,
  type ClientAddress,
  type ClientSecurity,
  NoAnswerError,
  type OptimisticCounts,
  ReplicaQuery,
  type ReplicaStatus,
} from "../runtime/index.js";
import { silentLog } from "./silent-log.js";

/** A replica that has not answered by then counts as down. */
const ANSWER_MS_MAX = 1000;
/** How long a replica may take to reach the position of the digest command. */
const DIGEST_MS_MAX = 2000;
const DIGEST_POLL_MS = 10;

export interface ReplicaDigest {
  /** One for each stream, that of g_all first. */
  readonly positions: readonly number[];
  readonly hex: string;
}

/** What a replica says of a digest command; the position is null while it has not executed it. */
interface DigestAnswer {
  readonly position?: number | null;
  /** Of all streams, that of g_all first; absent if the program of the replica is older. */
  readonly positions?: readonly number[];
  readonly hex?: string | null;
}

/** One replica in the answer of `synod status`. */
export interface ReplicaStanding {
  readonly id: ReplicaId;
  readonly role: "leader" | "follower" | "recovering" | "down";
  readonly pid: number | null;
  readonly ballot: number;
  readonly groups: readonly {
    readonly group: string;
    readonly role: string;
    readonly decided: number;
    readonly executed: number;
    /** Of opt-PSMR: what its thread has counted since the replica began. */
    readonly optimistic?: OptimisticCounts;
  }[];
  readonly digest: ReplicaDigest | null;
  /** Replicas that this one has found to have another state than a majority, or than itself; absent if there are none. */
  readonly differing?: readonly ReplicaId[];
}

export interface ClusterStanding {
  readonly replicas: readonly ReplicaStanding[];
  /** False when the digest command was not ordered: there is no leader, or no quorum behind it. */
  readonly quorum: boolean;
}

/** The client addresses of a whole cluster, as the replica at `address` knows them. */
export async function discover(address: string, security: ClientSecurity = {}): Promise<readonly ClientAddress[]> {
  return withQuery(
    [address],
    async (query) => {
      const { addresses } = await query.welcome(0, 2 * ANSWER_MS_MAX).catch((error: unknown) => {
        if (!(error instanceof NoAnswerError)) throw error;
        throw new NoAnswerError(
          `${error.message} at ${address}; what is wanted is a replica's client address ("client" in the ready line of up), ` +
            "not its Redis or admin port",
        );
      });
      if (!isAddressList(addresses)) {
        throw new SynodError("SYNOD_CONNECTION", `the replica at ${address} sent a malformed list of addresses`);
      }
      return addresses;
    },
    security,
  );
}

function isAddressList(value: unknown): value is readonly ClientAddress[] {
  if (!Array.isArray(value) || value.length === 0) return false;
  const list = value as readonly { id?: unknown; client?: unknown; members?: unknown }[];
  const groups = membersIn(list[0]);
  return (
    groups >= 0 &&
    list.every((each) => {
      return typeof each?.id === "number" && typeof each.client === "string" && membersIn(each) === groups;
    })
  );
}

/** How many addresses of members an entry has; -1 for what is malformed. */
function membersIn(entry: { readonly members?: unknown } | null | undefined): number {
  const members = entry?.members ?? [];
  if (!Array.isArray(members)) return -1;
  return members.every((each: { client?: unknown } | null) => typeof each?.client === "string") ? members.length : -1;
}

/**
 * Asks every replica where it stands, has the leader order a digest command, and collects its outcome from all. `pidOf` tells
 * the process behind a replica where that can be known.
 */
export async function standingOf(
  replicas: readonly ClientAddress[],
  pidOf: (id: ReplicaId) => number | null,
  security: ClientSecurity = {},
): Promise<ClusterStanding> {
  const members = membersOfEach(replicas);
  return withQuery(
    members.flat(),
    async (query) => {
      const byMember = await statusesOf(query, members);
      // What decides whether a replica is up, and who leads, is g_all, or the only group.
      const statuses = byMember[0] ?? [];
      const leader = statuses.findIndex((status) => status?.role === "leader");
      const digests = leader < 0 ? replicas.map(() => null) : await digestsOf(query, leader, statuses);
      const standings = replicas.map((replica, index): ReplicaStanding => {
        const status = statuses[index] ?? null;
        const pid = pidOf(replica.id);
        if (status === null) return { id: replica.id, role: "down", pid, ballot: 0, groups: [], digest: null };
        const groups = byMember.map((own, member) => groupStanding(own[index] ?? null, member, byMember.length));
        const role = shownRole(status);
        const standing = { id: replica.id, role, pid, ballot: status.ballot, groups, digest: digests[index] ?? null };
        return status.differing?.length > 0 ? { ...standing, differing: status.differing } : standing;
      });
      return { replicas: standings, quorum: digests.some((digest) => digest !== null) };
    },
    security,
  );
}

/** Client addresses by member, and in each by replica: one member of each replica if there is one group. */
function membersOfEach(replicas: readonly ClientAddress[]): readonly (readonly string[])[] {
  const groups = replicas[0]?.members ?? [];
  const others = groups.map((_, index) => replicas.map(({ members = [] }) => members[index]?.client ?? ""));
  return [replicas.map(({ client }) => client), ...others];
}

/** What each member says of itself, by member and replica; a query's links are the members' addresses one behind the other. */
function statusesOf(query: ReplicaQuery, members: readonly (readonly string[])[]): Promise<(ReplicaStatus | null)[][]> {
  return Promise.all(
    members.map((own, member) => Promise.all(own.map((_, index) => statusOf(query, member * own.length + index)))),
  );
}

function shownRole({ role }: ReplicaStatus): "leader" | "follower" | "recovering" {
  return role === "candidate" ? "follower" : role;
}

function groupStanding(
  status: ReplicaStatus | null,
  member: number,
  members: number,
): ReplicaStanding["groups"][number] {
  const group = members === 1 ? "g_1" : groupName(member);
  if (status === null) return { group, role: "down", decided: 0, executed: 0 };
  const { decided, executed, optimistic } = status;
  return { group, role: shownRole(status), decided, executed, ...(optimistic === undefined ? {} : { optimistic }) };
}

/** Commands that each replica has executed since its start, reads included; null for one that does not answer. */
export async function commandsOf(
  replicas: readonly ClientAddress[],
  security: ClientSecurity = {},
): Promise<readonly (number | null)[]> {
  const members = membersOfEach(replicas);
  return withQuery(
    members.flat(),
    async (query) => {
      const byMember = await statusesOf(query, members);
      // Each thread counts what it has executed, that of g_all included; who orders g_all executes nothing.
      return replicas.map((_, index) =>
        byMember.reduce<number | null>((sum, own) => {
          const commands = own[index]?.commands ?? null;
          return sum === null || commands === null ? null : sum + commands;
        }, 0),
      );
    },
    security,
  );
}

export async function statusOf(query: ReplicaQuery, index: number): Promise<ReplicaStatus | null> {
  try {
    return (await query.status(index, { want: "status" }, ANSWER_MS_MAX)) as ReplicaStatus;
  } catch {
    return null;
  }
}

/**
 * Instances that each replica knows to be decided, of all groups together; null for one that does not answer. Rejects with `AuthenticationError` if
 * one is there and lets nobody like this program in: what it knows is not nothing.
 */
export async function decidedOf(
  replicas: readonly ClientAddress[],
  security: ClientSecurity,
): Promise<readonly (number | null)[]> {
  const members = membersOfEach(replicas);
  return withQuery(
    members.flat(),
    async (query, refused) => {
      const byMember = await statusesOf(query, members);
      const decided = replicas.map((_, index) => {
        const known = byMember.flatMap((own) => own[index]?.decided ?? []);
        return known.length === 0 ? null : known.reduce((sum, each) => sum + each, 0);
      });
      if (refused.size > 0) throw new AuthenticationError("a replica did not let this program in");
      return decided;
    },
    security,
  );
}

async function digestsOf(
  query: ReplicaQuery,
  leader: number,
  statuses: readonly (ReplicaStatus | null)[],
): Promise<(ReplicaDigest | null)[]> {
  const nonce = randomBytes(16).toString("hex");
  const deadlineMs = performance.now() + DIGEST_MS_MAX;
  await query.status(leader, { want: "digest", nonce }, DIGEST_MS_MAX).catch(() => undefined);
  return Promise.all(
    statuses.map(async (status, index) => {
      while (status !== null && performance.now() < deadlineMs) {
        const left = Math.max(1, deadlineMs - performance.now());
        const answer = await query.status(index, { want: "digestOf", nonce }, left).catch(() => null);
        const { position, hex, positions } = (answer ?? {}) as DigestAnswer;
        if (typeof position === "number" && typeof hex === "string") return { positions: positions ?? [position], hex };
        await setTimeout(DIGEST_POLL_MS);
      }
      return null;
    }),
  );
}

/** True if every replica that is up reports a digest and all are the same. */
export function digestsEqual(standing: ClusterStanding): boolean {
  const digests = standing.replicas.filter((replica) => replica.role !== "down").map((replica) => replica.digest?.hex);
  return digests.length > 0 && digests[0] !== undefined && digests.every((hex) => hex === digests[0]);
}

/** True if two replicas that told their digests, all of one position, have different states. */
export function digestsDiffer(standing: ClusterStanding): boolean {
  return new Set(standing.replicas.flatMap(({ digest }) => digest?.hex ?? [])).size > 1;
}

/** Lends a query on these client addresses and closes it afterwards. */
export async function withQuery<T>(
  addresses: readonly string[],
  use: (query: ReplicaQuery, refused: ReadonlySet<number>) => Promise<T>,
  security: ClientSecurity = {},
): Promise<T> {
  const refused = new Set<number>();
  const { port, scheduler } = dialled(addresses, security, (link) => refused.add(link));
  const query = new ReplicaQuery(port, scheduler, addresses.length);
  try {
    return await use(query, refused);
  } catch (error) {
    if (refused.size === 0) throw error;
    throw new AuthenticationError(
      `${addresses.join(", ")}: the replicas do not let this program in (password, certificate?)`,
    );
  } finally {
    await query.close();
  }
}

/** A port that dials client addresses, for its user to start and to close. */
export function dialled(
  addresses: readonly string[],
  security: ClientSecurity = {},
  onRefused: (link: number) => void = () => undefined,
): {
  readonly port: TcpDialler;
  readonly scheduler: SystemScheduler;
} {
  const scheduler = new SystemScheduler();
  const seed = randomBytes(4).readUInt32LE();
  return {
    port: new TcpDialler({
      ...accessOf(security),
      scheduler,
      events: silentLog,
      clusterId: null,
      addresses,
      seed,
      onRefused,
    }),
    scheduler,
  };
}
