import { assert, type Prng } from "../../base/index.js";
import {
  createOptPsmrThread,
  createPsmrThread,
  type ReplicatedStateOptions,
  type ThreadModel,
} from "../../execution/index.js";
import {
  type ClusterConfig,
  type Instance,
  isOptimistic,
  type ProtocolModule,
  type QueueVisitor,
  type ReplicaId,
  type SharedService,
  type SharedServiceModule,
  type SharedServiceRoot,
  type TraceCode,
} from "../../model/index.js";
import {
  MergePointMerge,
  MergePointPacing,
  MultiRingMerge,
  MultiRingPacing,
  singlePacing,
} from "../../multicast/index.js";
import {
  FRAME_BYTES_MAX,
  type ReplicaPlatform,
  SIM_LINK_DEFAULTS,
  SimDisk,
  type SimKernel,
  type SimNetwork,
  type SimProcess,
  SimWallClock,
} from "../../platform/index.js";
import {
  createMember,
  createMemberParts,
  isServiceModule,
  mappingsOf,
  type MemberInit,
  type MemberParts,
  type MemberSiblings,
  type Replica,
  type ReplicaOptions,
  SKIPS,
} from "../../runtime/index.js";
import { AccessChecker, describeOverlap, type ThreadLife } from "../check/index.js";
import type { GroupsScenario } from "../scenario/index.js";
import { type ArmedPoint, type CrashCoverage, CrashPoints, occasionOf } from "./crash-point.js";
import type { MemberDisguise } from "./disguise.js";
import type { SimMachine } from "./machine.js";
import { ObservedThread, type ThreadWitness } from "./observed-thread.js";
import { SimBells } from "./sim-bells.js";
import { WorldViolation } from "./violation.js";
import type { VoteWitness } from "./vote-witness.js";
import { partitionTouches, type Touches, touchesOf, WatchedView } from "./watched-view.js";

/** Keys of the workload are below this. */
const KEYS_MAX = 1 << 20;
/** A link that holds its maximum takes no further frame; the one before it may have been as long as any. */
const UNSENT_BYTES_MAX = SIM_LINK_DEFAULTS.inFlightBytesMax + FRAME_BYTES_MAX;

export interface SimMembersInit {
  readonly id: ReplicaId;
  readonly kernel: SimKernel;
  /** By member: each has links of its own. */
  readonly networks: readonly SimNetwork[];
  readonly config: ClusterConfig;
  readonly options: Partial<ReplicaOptions>;
  readonly groups: GroupsScenario;
  readonly segmentBytes: number;
  /** Limits of the replicated state, the same on all replicas. */
  readonly limits: Partial<ReplicatedStateOptions>;
  readonly service: SharedServiceModule;
  readonly ordering: ProtocolModule<unknown, unknown, unknown>;
  /** By member. */
  readonly witnesses: readonly VoteWitness[];
  readonly coverage: CrashCoverage;
  /** True if the process may end now of itself. */
  readonly mayDie: (replica: SimMachine) => boolean;
  /** Wraps the parts of each member: planted bugs. */
  readonly disguise: MemberDisguise;
  readonly witnessOf: (thread: ThreadLife) => ThreadWitness;
  readonly onTrace: (member: number, life: number, code: TraceCode, a: number, b: number, c: number) => void;
  readonly onEvent: (member: number, event: string, fields?: Readonly<Record<string, unknown>>) => void;
  /** All members of the replica take part. */
  readonly onRecovered: () => void;
  readonly onFatal: (error: Error) => void;
  /** The members begin anew, with what is durable. */
  readonly onRestart: (reason: string) => void;
}

interface Member {
  readonly process: SimProcess;
  readonly points: CrashPoints;
  readonly platform: ReplicaPlatform;
  readonly replica: Replica;
}

/** One life of a replica: a process with a thread a member, of which some may not have been started yet. */
interface Life {
  readonly number: number;
  readonly processes: readonly SimProcess[];
  readonly members: (Member | null)[];
  readonly recovered: Set<number>;
  readonly standing: Set<number>;
  stopping: boolean;
  paused: boolean;
}

/**
 * A machine whose replica has several groups: a member for each, and one for g_all, in threads of their own that end together.
 * They share a disk, on which each has a log and an identity, and the memory of the service.
 */
export class SimMembers implements SimMachine {
  readonly id: ReplicaId;
  readonly disk: SimDisk;
  readonly wall: SimWallClock;
  readonly #init: SimMembersInit;
  readonly #prng: Prng;
  readonly #count: number;
  #life: Life | null = null;
  #lives = 0;
  #armed: ArmedPoint | null = null;

  constructor(init: SimMembersInit) {
    this.#init = init;
    this.id = init.id;
    this.#count = init.groups.count + 1;
    this.wall = new SimWallClock(init.kernel);
    this.#prng = init.kernel.prng.fork(`replica ${init.id}`);
    const { clusterId, durability } = init.config;
    const { segmentBytes } = init;
    this.disk = new SimDisk(init.kernel, { name: `r${init.id}`, clusterId, durability, segmentBytes });
  }

  get running(): boolean {
    return this.#life !== null;
  }

  get life(): number {
    return this.#lives;
  }

  get paused(): boolean {
    return this.#life?.paused === true;
  }

  get stopping(): boolean {
    return this.#life?.stopping === true;
  }

  get replica(): Replica | null {
    return this.#life?.members[0]?.replica ?? null;
  }

  get members(): readonly (Replica | null)[] {
    return Array.from({ length: this.#count }, (_, member) => this.#life?.members[member]?.replica ?? null);
  }

  queues(visit: QueueVisitor): void {
    for (const member of this.#life?.members ?? []) {
      if (member === null) continue;
      member.replica.queues(visit);
      const { peers } = member.platform;
      for (const { id } of this.#init.config.replicas) {
        if (id !== this.id) visit("unsent bytes to a peer", peers.inFlightBytes(id), UNSENT_BYTES_MAX);
      }
    }
  }

  create(done: () => void): void {
    const { clusterId, durability } = this.#init.config;
    let open = this.#count;
    const processes = this.#spawn("creation");
    processes.forEach((process, member) => {
      const { identity } = this.disk.attach(process, partOf(member));
      const bootId = identity.bootId();
      identity.save(
        { format: 1, clusterId, replica: this.id, durability, bootId, started: false, amnesiaNonce: 0 },
        (error) => {
          assert(error === null, "a new disk takes an identity");
          if (--open > 0) return;
          for (const each of processes) each.crash();
          done();
        },
      );
    });
  }

  start(): void {
    assert(this.#life === null, `replica ${this.id} runs already`);
    const init = this.#init;
    const { groups } = init;
    const processes = this.#spawn(String(++this.#lives));
    const life: Life = {
      number: this.#lives,
      processes,
      members: processes.map(() => null),
      recovered: new Set(),
      standing: new Set(),
      stopping: false,
      paused: false,
    };
    this.#life = life;
    const shared: Shared = {
      parts: createMemberParts(groups.count),
      bells: new SimBells(processes, this.#prng, groups.bellMsMax),
      accesses: new AccessChecker(groups.count),
      armed: this.#armed,
    };
    this.#armed = null;
    const service = init.disguise.service?.(init.service, this.id) ?? init.service;
    const onShared = (description: unknown, through: Instance): void => {
      for (const member of processes.keys()) {
        if (member === 1) continue;
        init.kernel.after(this.#prng.between(0, 2), () => {
          if (this.#life !== life || life.stopping) return;
          const view = member === 0 ? noService : () => service.attach(description, member - 1, groups.count);
          this.#begin(life, member, shared, view, { checkpointThrough: through });
        });
      }
    };
    this.#begin(life, 1, shared, () => service.createShared(groups.count), { onShared });
  }

  crash(kind: "power" | "process"): void {
    const life = this.#life;
    if (life === null) return;
    this.#end(life, kind);
  }

  stop(done: () => void): void {
    const life = this.#life;
    if (life === null || life.stopping) return;
    life.stopping = true;
    this.disarmCrashPoint();
    const members = life.members.filter((member) => member !== null);
    let open = members.length;
    for (const { process, replica } of members) {
      process.enter(() =>
        replica.stop(() => {
          if (--open > 0 || this.#life !== life) return;
          this.#end(life, "process");
          done();
        }),
      );
    }
  }

  pause(): void {
    const life = this.#life;
    if (life === null || life.paused) return;
    life.paused = true;
    life.processes.forEach((process, member) => {
      if (!life.standing.has(member)) process.pause();
    });
  }

  resume(): void {
    const life = this.#life;
    if (life?.paused !== true) return;
    life.paused = false;
    life.processes.forEach((process, member) => {
      if (!life.standing.has(member)) process.resume();
    });
  }

  pauseThread(thread: number): boolean {
    const life = this.#life;
    const member = thread % this.#count;
    if (life === null || life.standing.has(member)) return false;
    life.standing.add(member);
    if (!life.paused) life.processes[member]?.pause();
    return true;
  }

  resumeThread(thread: number): void {
    const life = this.#life;
    const member = thread % this.#count;
    if (life?.standing.delete(member) === true && !life.paused) life.processes[member]?.resume();
  }

  armCrashPoint(armed: ArmedPoint): void {
    if (occasionOf(armed.point) !== "work") this.#armed = armed;
    else for (const member of this.#life?.members ?? []) member?.points.arm(armed);
  }

  disarmCrashPoint(): void {
    this.#armed = null;
    for (const member of this.#life?.members ?? []) member?.points.disarm();
  }

  #spawn(what: string): SimProcess[] {
    return Array.from({ length: this.#count }, (_, member) => {
      const process = this.#init.kernel.spawn(`r${this.id}/${what}/${member}`);
      process.wall = this.wall;
      return process;
    });
  }

  #end(life: Life, kind: "power" | "process"): void {
    this.#life = null;
    life.processes.forEach((process, member) => this.#init.networks[member]?.crash(process));
    this.disk.crash(kind);
  }

  #begin(
    life: Life,
    member: number,
    shared: Shared,
    createService: () => SharedService | SharedServiceRoot,
    start: Pick<MemberInit, "checkpointThrough"> | Pick<MemberInit, "onShared">,
  ): void {
    const init = this.#init;
    const { id } = this;
    const process = life.processes[member] as SimProcess;
    const network = init.networks[member] as SimNetwork;
    const points = new CrashPoints(id, init.coverage, () => init.mayDie(this));
    if (shared.armed !== null) points.arm(shared.armed);
    const real: ReplicaPlatform = {
      scheduler: process,
      peers: network.peers(process, id),
      clients: [network.listener(process, id)],
      ...this.disk.attach(process, partOf(member)),
      events: {
        info: (event, fields) => init.onEvent(member, event, fields),
        warn: (event, fields) => init.onEvent(member, event, fields),
        error: (event, fields) => init.onEvent(member, event, fields),
      },
      nonce: () => 1 + this.#prng.u32() * 65_536,
    };
    const watched = init.witnesses[member]?.around(id, real) ?? real;
    const platform = init.disguise.platform?.(points.around(watched), id, member) ?? points.around(watched);
    const mine = (): boolean => this.#life === life;
    const view = { watched: null as WatchedView | null };
    const siblings = this.#siblings(life, shared, view);
    const replica = createMember({
      member,
      parts: shared.parts,
      bells: shared.bells.of(member),
      self: id,
      config: init.config,
      platform,
      options: init.options,
      siblings:
        init.disguise.siblings?.(siblings, { replica: id, member, life: life.number, process, parts: shared.parts }) ??
        siblings,
      traceValues: true,
      limits: init.limits,
      ...(isServiceModule(init.config.service) ? { mappings: mappingsOf(init.service, init.groups.count) } : {}),
      createService: () => {
        const inner = createService();
        view.watched = new WatchedView(inner, member - 1, shared.accesses, this.#touches());
        return view.watched;
      },
      ...start,
      onFatal: (error) => {
        if (mine()) init.onFatal(error);
      },
      onRecovered: () => {
        if (!mine()) return;
        life.recovered.add(member);
        if (life.recovered.size === this.#count) init.onRecovered();
      },
      onTrace: (code, a, b, c) => {
        if (mine()) init.onTrace(member, life.number, code, a, b, c);
      },
      onRestart: (reason) => {
        if (mine()) init.kernel.after(0, () => this.#restart(life, reason));
      },
    });
    life.members[member] = { process, points, replica, platform: real };
    process.after(0, () => replica.start());
  }

  #touches(): Touches {
    const { config, service } = this.#init;
    if (isServiceModule(config.service)) return partitionTouches(service.mapping(config.groups));
    return touchesOf(config.service, config.groups, KEYS_MAX);
  }

  /** The thread's own model, watched; which service it has is known by then. */
  #siblings(life: Life, shared: Shared, view: { readonly watched: WatchedView | null }): MemberSiblings {
    const init = this.#init;
    const { groups, merge } = init.config;
    // Streams began an hour before the world.
    const skips = { ...SKIPS, startMs: init.kernel.wallEpochMs - 3_600_000 };
    return {
      ordering: init.ordering,
      createMerge: (_config, stream) =>
        merge === "skips" ? new MultiRingMerge([0, stream], skips) : new MergePointMerge(stream),
      createPacing: (_config, stream) => {
        if (merge === "skips") return new MultiRingPacing(skips);
        return stream === 0 ? singlePacing : new MergePointPacing();
      },
      createThread: (parts, thread, service, mappings, options) => {
        const inner = isOptimistic(init.config)
          ? createOptPsmrThread(parts, thread, service, mappings, options)
          : createPsmrThread(parts, thread, service, mappings.conservative, options);
        view.watched?.watch(() => inner.inspect());
        return this.#observed(life, shared, inner, service, groups);
      },
    };
  }

  #observed(life: Life, shared: Shared, inner: ThreadModel, service: SharedService, groups: number): ThreadModel {
    const witness = this.#init.witnessOf({ replica: this.id, life: life.number, thread: inner.thread });
    const executed: ThreadWitness["executed"] = (stream, through, effects) => {
      if (this.#life !== life) return;
      const overlap = shared.accesses.overlaps()[0];
      if (overlap !== undefined) throw new WorldViolation("overlap", describeOverlap(overlap));
      witness.executed(stream, through, effects);
    };
    return new ObservedThread(inner, service, groups, { ...witness, executed });
  }

  /** All members end, as after a crash, and begin anew with what is durable. */
  #restart(life: Life, reason: string): void {
    if (this.#life !== life || life.stopping) return;
    this.#init.onRestart(reason);
    this.#end(life, "process");
    this.start();
  }
}

/** What the members of one life share. */
interface Shared {
  readonly parts: MemberParts;
  readonly bells: SimBells;
  readonly accesses: AccessChecker;
  /** Where this life is to end. */
  readonly armed: ArmedPoint | null;
}

function partOf(member: number): string {
  return `group-${member}`;
}

/** The member to which a part of the disk belongs. */
export function memberOf(part: string): number {
  return Number(part.slice(partOf(0).length - 1));
}

function noService(): never {
  throw new Error("member 0 has no view of the service");
}
