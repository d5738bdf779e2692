import { assert, ByteWriter } from "../../base/index.js";
import {
  createOptPsmrThread,
  createPsmrThread,
  type PsmrOptions,
  type PsmrParts,
  type ThreadModel,
} from "../../execution/index.js";
import {
  beginBlock,
  BLOCK_HEADER_BYTES,
  BlockKind,
  type ClusterConfig,
  endBlock,
  type Instance,
  type ReplicaId,
  type SharedService,
  type SharedServiceModule,
  type SharedServiceRoot,
} from "../../model/index.js";
import {
  type Merge,
  MergePointMerge,
  MergePointPacing,
  type MultiRingConfig,
  MultiRingMerge,
  MultiRingPacing,
  type Pacing,
  singlePacing,
} from "../../multicast/index.js";
import { sharedServiceFor, siblingsOf } from "../registry.js";
import type { Replica, ReplicaInit } from "../replica/api.js";
import { replicaOptions } from "../replica/options.js";
import { ConservativeBlocks } from "../replica/conservative-blocks.js";
import { createHost } from "../replica/replica.js";
import { AllExecution } from "./all-execution.js";
import type { MemberInit, MemberSiblings, ThreadMappings } from "./api.js";
import { Board } from "./board.js";
import { placesSection, serviceSection, sessionsSection } from "./cut-format.js";
import { CutPart } from "./cut-part.js";
import { CutState } from "./cut-state.js";
import { FollowingState, type MemberStateInit, PlacesSink, restoreInTurn } from "./member-state.js";
import { MessageSender } from "./message-ring.js";
import { ThreadExecution } from "./thread-execution.js";

/**
 * Skips: each stream is filled up to more commands a second than a thread executes, since numbers cost nothing, and so often that
 * the batches of skips are few. Streams began at the first of January 2026, before any cluster was made.
 */
export const SKIPS: MultiRingConfig = {
  instancesPerSecond: 1_000_000,
  intervalMs: 5,
  turn: 1,
  startMs: 1_767_225_600_000,
};

/** While a cut is wanted g_all's coordinator orders a barrier over all threads this often, in ms, until one has come. */
const BARRIER_MS = 100;
/**
 * And this often anyway, if any command was executed: replicas that it does not lead may want one, and the digests taken there are
 * how the states of replicas are compared.
 */
const IDLE_BARRIER_MS = 1000;

/**
 * Makes a member of a replica with several groups. It is started and stopped as a replica is. Throws `ConfigError` for
 * siblings or services that can't run in groups.
 */
export function createMember(init: MemberInit): Replica {
  const { member, config, parts } = init;
  assert(config.groups === parts.groups, `parts for ${parts.groups} groups, and a cluster with ${config.groups}`);
  assert(member >= 0 && member <= config.groups, `member ${member} of ${config.groups} groups and g_all`);
  const told = member === 1 || init.checkpointThrough !== undefined;
  assert(told, "member 1 starts first, and says with onShared which checkpoint the others begin from");
  return member === 0 ? createAllMember(init) : createThreadMember(init);
}

function createAllMember(init: MemberInit): Replica {
  const { parts, bells, config, platform } = init;
  const board = new Board(parts.board);
  const optimistic = config.execution === "opt-psmr";
  const conservative = optimistic ? new ConservativeBlocks((stream) => board.of(stream, "executedAll")) : null;
  const execution = new AllExecution(parts, bells, conservative);
  const { createMerge, createPacing } = siblingsOfMember(init);
  const pacing = createPacing(config, 0);
  const caller = new BarrierCaller(board, parts.groups);
  return createHost(hostInit(init), {
    ordering: siblingsOfMember(init).ordering,
    execution,
    // What INFO shows; the metrics have it, with the bytes, from member 1.
    size: () => ({ entries: board.get("entries"), bytes: 0 }),
    keepState: (host, sink) => {
      const state: MemberStateInit = {
        member: 0,
        parts,
        bells,
        platform,
        options: replicaOptions(init.options),
        execution,
        sink,
        host,
        // The first thread saved what the pacing of g_all knows, behind its own.
        section: (section) =>
          section === placesSection(0)
            ? new PlacesSink((view, at, end) =>
                restoreInTurn(view, at, end, [createMerge(config, 1), createPacing(config, 1), pacing]),
              )
            : null,
        restored: (through) => execution.begin(through),
      };
      return new FollowingState(state, init.checkpointThrough as Instance);
    },
    membership: {
      stream: 0,
      preferred: preferredFor(config, 0),
      pacing,
      allDecided: () => board.get("allDecided"),
      allHeard: () => undefined,
      allKnown: () => {
        let known = 0;
        for (let other = 1; other <= parts.groups; other++) known = Math.max(known, board.of(other, "heardAll"));
        return known;
      },
      onRing: (handler) => bells.onRing(handler),
      blockDue: (now, instance) => caller.blockDue(now, instance),
      conservative,
      conservativeFromClients: optimistic && config.resubmit === "client",
    },
  });
}

function createThreadMember(init: MemberInit): Replica {
  const { member, parts, bells, config, platform } = init;
  const { groups } = config;
  const thread = member - 1;
  const board = new Board(parts.board);
  const service = init.createService();
  const mappings = init.mappings ?? mappingsOf(sharedServiceFor(config), groups);
  const { createThread, createMerge, createPacing } = siblingsOfMember(init);
  const psmr = createThread(parts.psmr, thread, service, mappings, {
    ...init.limits,
    barrier: config.barrier ?? "run",
  });
  const merge = createMerge(config, member);
  const pacing = createPacing(config, member);
  const ownPlace = createPacing(config, member);
  const allPlace = createPacing(config, 0);
  let cutState: CutState | null = null;
  const part =
    thread === 0 ? null : new CutPart(thread, new MessageSender(parts.cuts[thread - 1] as SharedArrayBuffer));
  const pumpPart = (): void => {
    if (part?.pump() === true) bells.ring(1);
  };
  const execution = new ThreadExecution({
    parts,
    bells,
    psmr,
    merge,
    ownPlace,
    allPlace,
    onCut: (cut) => {
      if (cutState !== null) return cutState.onCut(cut);
      part?.begin(psmr.inspect().executed, cut.part, (writer) => execution.savePlaces(writer));
      pumpPart();
    },
    onPassed: () => {
      cutState?.pump();
      pumpPart();
    },
    entries: thread === 0 ? () => service.size().entries : null,
    resubmits: config.execution === "opt-psmr" && config.resubmit !== "client",
  });
  return createHost(hostInit(init), {
    ordering: siblingsOfMember(init).ordering,
    execution,
    size: () => (thread === 0 ? service.size() : { entries: 0, bytes: 0 }),
    keepState: (host, sink) => {
      const state: MemberStateInit = {
        member,
        parts,
        bells,
        platform,
        options: replicaOptions(init.options),
        execution,
        sink,
        host,
        section: (section) => {
          if (section === placesSection(thread)) {
            return new PlacesSink((view, at, end) => {
              const behind = restoreInTurn(view, at, end, [merge, ownPlace, allPlace]);
              // The host's own pacing goes on from where the cut is, through what the log tells it.
              const writer = new ByteWriter(64);
              ownPlace.save(writer);
              pacing.restore(writer.view, 0, writer.length);
              return behind;
            });
          }
          if (section === sessionsSection(thread)) return psmr.restore();
          return thread === 0 && section === serviceSection(groups) ? service.restore() : null;
        },
        restored: (through) => {
          execution.begin();
          if (thread === 0) init.onShared?.((service as SharedServiceRoot).share(), through);
        },
      };
      if (thread > 0) return new ThreadState(state, init.checkpointThrough as Instance, part as CutPart);
      return (cutState = new CutState({
        ...state,
        psmr,
        service: service as SharedServiceRoot,
        places: (writer) => execution.savePlaces(writer),
        onRestart: (reason) => init.onRestart(reason),
      }));
    },
    membership: {
      stream: member,
      preferred: preferredFor(config, member),
      pacing,
      allDecided: () => board.get("allDecided"),
      // A member of g_all that does not reach its coordinator fetches from others what it knows to be there.
      allHeard: (through) => {
        if (through <= board.get("allDecided") || through <= board.of(member, "heardAll")) return;
        board.setOf(member, "heardAll", through);
        bells.ring(0);
      },
      allKnown: () => 0,
      onRing: (handler) => bells.onRing(handler),
      blockDue: () => null,
      conservative: null,
      conservativeFromClients: false,
    },
  });
}

/** The state of a thread's member but the first: it sends its part of a cut on as there is room. */
class ThreadState extends FollowingState {
  readonly #part: CutPart;

  constructor(init: MemberStateInit, checkpointThrough: number, part: CutPart) {
    super(init, checkpointThrough);
    this.#part = part;
  }

  override consider(): void {
    super.consider();
    if (this.#part.pump()) this.init.bells.ring(1);
  }

  override close(): void {
    this.#part.close();
  }
}

/**
 * Has g_all's coordinator order a barrier over all threads where a cut is wanted. A digest command is one, and changes nothing.
 */
class BarrierCaller {
  readonly #board: Board;
  readonly #groups: number;
  readonly #block = new ByteWriter(BLOCK_HEADER_BYTES + 16);
  #calledAt = -Infinity;
  /** The instance of the barrier that was called last, or of what came in its place. */
  #called: Instance = 0;
  #orderedAt = 0;

  constructor(board: Board, groups: number) {
    this.#board = board;
    this.#groups = groups;
    const at = beginBlock(this.#block, BlockKind.digest, 0, 0, 0);
    this.#block.f64(0);
    this.#block.f64(0);
    endBlock(this.#block, at, 0);
  }

  /**
   * The block to order now, as this instance of g_all; null if none is due. One at a time: each takes an instance of all logs, and
   * whoever wants a cut takes it at the one on its way.
   */
  blockDue(now: number, instance: Instance): ByteWriter | null {
    const since = now - this.#calledAt;
    if (since < BARRIER_MS || this.#executed() < this.#called) return null;
    if (this.#board.get("barrierWanted") === 0) {
      if (since < IDLE_BARRIER_MS || this.#ordered() === this.#orderedAt) return null;
    }
    this.#calledAt = now;
    this.#called = instance;
    this.#orderedAt = this.#ordered();
    return this.#block;
  }

  /** The last instance of g_all that all threads of this replica have executed. */
  #executed(): Instance {
    let executed = Infinity;
    for (let member = 1; member <= this.#groups; member++) {
      executed = Math.min(executed, this.#board.of(member, "executedAll"));
    }
    return executed;
  }

  /** Not instances: each barrier brings a mark in every group, and an idle cluster would call for barriers for ever. */
  #ordered(): number {
    let ordered = 0;
    for (let member = 1; member <= this.#groups; member++) ordered += this.#board.of(member, "ordered");
    return ordered;
  }
}

function hostInit(init: MemberInit): Omit<ReplicaInit, "siblings"> {
  const { self, config, platform, options, onFatal, onRecovered, onLeader, onTrace, metrics, traceValues } = init;
  return {
    self,
    config,
    platform,
    onFatal,
    ...(options === undefined ? {} : { options }),
    ...(onRecovered === undefined ? {} : { onRecovered }),
    ...(onLeader === undefined ? {} : { onLeader }),
    ...(onTrace === undefined ? {} : { onTrace }),
    ...(metrics === undefined ? {} : { metrics }),
    ...(traceValues === undefined ? {} : { traceValues }),
  };
}

function siblingsOfMember(init: MemberInit): MemberSiblings {
  return {
    ordering: init.siblings?.ordering ?? siblingsOf({ ...init.config, execution: "pipelined" }).ordering,
    createThread: init.config.execution === "opt-psmr" ? createOptPsmrThread : createPlainThread,
    createMerge: mergeOf,
    createPacing: pacingOf,
    ...init.siblings,
  };
}

/** A thread of P-SMR, which knows commands of one kind. */
function createPlainThread(
  parts: PsmrParts,
  thread: number,
  service: SharedService,
  { conservative }: ThreadMappings,
  options: Partial<PsmrOptions>,
): ThreadModel {
  return createPsmrThread(parts, thread, service, conservative, options);
}

/** The mappings of a service to so many groups. */
export function mappingsOf(service: SharedServiceModule, groups: number): ThreadMappings {
  const conservative = service.mapping(groups);
  return { conservative, optimistic: service.optimisticMapping?.(groups) ?? conservative };
}

/** Coordinators are spread over the replicas: each stream prefers another one to lead. */
function preferredFor({ replicas }: ClusterConfig, stream: number): ReplicaId {
  const ids = replicas.map(({ id }) => id).sort((one, other) => one - other);
  return ids[stream % ids.length] as ReplicaId;
}

function pacingOf(config: ClusterConfig, member: number): Pacing {
  if (config.merge === "skips") return new MultiRingPacing(SKIPS);
  return member === 0 ? singlePacing : new MergePointPacing();
}

function mergeOf(config: ClusterConfig, member: number): Merge {
  return config.merge === "skips" ? new MultiRingMerge([0, member], SKIPS) : new MergePointMerge(member);
}
