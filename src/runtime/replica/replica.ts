// Hot file: work is per frame, per batch and per turn, never per command. Watched by bench/cluster.mjs.
import { assert, ByteWriter, hashBytes, MiB, Ring } from "../../base/index.js";
import {
  type Ballot,
  type Batch,
  BATCH_BYTES_MAX,
  BatchArena,
  BLOCK_HEADER_BYTES,
  blockCommands,
  blockKind,
  BlockKind,
  blockSequence,
  blockStream,
  blockSession,
  checkBlock,
  type Digest,
  DivergedError,
  type EffectSink,
  type ExecutionModel,
  type ExecutionSink,
  FrameKind,
  type HeldSend,
  type Instance,
  instanceOf,
  positionOf,
  type Position,
  type Protocol,
  type ProtocolEvent,
  type ProtocolModule,
  type QueueVisitor,
  type RefuseReason,
  REPLY_HEADER_BYTES,
  type ReplicaId,
  replyCount,
  replyKind,
  replySequence,
  ReplyStatus,
  replyStatus,
  type SessionId,
  type Span,
  TraceCode,
} from "../../model/index.js";
import type {
  CheckpointInfo,
  FrameHandlers,
  FramePort,
  Identity,
  ReplicaPlatform,
  Timer,
  Turn,
} from "../../platform/index.js";
import { siblingsOf } from "../registry.js";
import type { Replica, ReplicaInit, ReplicaOptions, ReplicaSiblings, ReplicaStatus } from "./api.js";
import { BackupServing } from "./backup-serving.js";
import { BlocksUnderway, SESSIONS_UNDERWAY_MAX } from "./blocks-underway.js";
import { digestHex } from "./checkpointing.js";
import { ControlFrames } from "./control-frames.js";
import type { HostParts, Membership } from "./host-parts.js";
import { Ingress, READ_GROUPS_MAX, ReadQueue } from "./ingress.js";
import { replicaOptions } from "./options.js";
import { recall } from "./recall.js";
import { recover } from "./recovery.js";
import { ROUTED_OPENINGS_MAX, ROUTED_SESSIONS_MAX, routeLink, routeOf, type Route, Routes } from "./routes.js";
import { type Divergence, StateComparison } from "./state-comparison.js";
import type { StateHost, StateKeeping } from "./state-keeping.js";
import { WholeState } from "./whole-state.js";

/** Commands executed before a turn lets the network and the disk have their say. */
const WORK_COMMANDS = 2048;
/** While nobody writes, reads see an agreed time that is at most about so far behind, in ms. */
const READ_TIME_LAG_MS_MAX = 50;
/** A client that leaves so many bytes of replies unread is answered no reads; it sends them again. */
const READ_UNSENT_BYTES_MAX = 8 * MiB;
/**
 * Memory of trimmed batches that is kept for the next ones. A log that stays in memory grows again to what it was before each
 * checkpoint, and so much memory that comes and goes would make work for the collector.
 */
const ARENA_SPARE_BYTES = 8 * MiB;
/** Records that wait for the disk; each is in the log's memory, which is full long before. */
const PERSISTING_MAX = 1_048_576;
/** In place of the ballot that the pacing was told of: it has to be told again. */
const NOT_PACED = -1;
/** Stalled transfers and the like are looked for this often, in ms. */
const HOUSEKEEPING_MS = 500;
/** A coordinator asks this often for the others' digests, in ms, if it has executed anything since. */
const COMPARE_MS = 250;
/** A coordinator that another replica is preferred to hands over to it after so long, in ms, and tries no more often. */
const PREFER_MS = 10_000;
/** A stopping leader waits this long for another to take over, in ms. */
const HANDOVER_MS = 1000;

interface HeldFrame {
  readonly to: ReplicaId;
  readonly kind: number;
  readonly body: Uint8Array;
}

interface Persisting {
  readonly position: number;
  readonly token: number;
  readonly held: readonly HeldFrame[];
}

/** Makes a replica of the siblings that its configuration names. Throws `ConfigError`. */
export function createReplica(init: ReplicaInit): Replica {
  const siblings: ReplicaSiblings = { ...siblingsOf(init.config), ...init.siblings };
  const service = siblings.createService();
  const execution = siblings.createExecution(service);
  const { self, platform, metrics } = init;
  const options = replicaOptions(init.options);
  return createHost(init, {
    ordering: siblings.ordering,
    execution,
    size: () => service.size(),
    keepState: (host, sink) => new WholeState({ self, platform, options, execution, service, host, sink, metrics }),
    membership: null,
  });
}

/** The host of these parts, which belong to it alone. */
export function createHost(init: Omit<ReplicaInit, "siblings">, parts: HostParts): Replica {
  return new ReplicaHost(init, parts);
}

/**
 * Drives the pure cores of one replica with its platform: events in, effects out.
 *
 * A turn: input is stepped as it comes; at the turn's end the reads and then the blocks that came in are given to the
 * protocol, everything is sent with one write per link and one group commit, and only then decided batches execute, so
 * that votes never wait for execution.
 */
class ReplicaHost implements Replica, EffectSink<unknown, unknown, unknown>, ExecutionSink {
  readonly #init: Omit<ReplicaInit, "siblings">;
  readonly #parts: HostParts;
  readonly #membership: Membership | null;
  readonly #options: ReplicaOptions;
  readonly #platform: ReplicaPlatform;
  readonly #module: ProtocolModule<unknown, unknown, unknown>;
  readonly #protocol: Protocol<unknown, unknown, unknown>;
  readonly #arena: BatchArena;
  readonly #execution: ExecutionModel;
  readonly #routes: Routes;
  readonly #ingress: Ingress;
  readonly #underway = new BlocksUnderway();
  readonly #reads: ReadQueue;
  readonly #control: ControlFrames;
  readonly #state: StateKeeping;
  /** Null for a member of several groups. */
  readonly #backups: BackupServing | null;
  /** Null if states are not compared. */
  readonly #comparison: StateComparison | null;
  readonly #comparing: Timer;
  readonly #turn: Turn;
  /** Execution and replies, behind everything else that a turn has brought about. */
  readonly #working: Turn;
  readonly #timer: Timer;
  readonly #housekeeping: Timer;
  /** Wakes the coordinator when the service has something due and no commands arrive. */
  readonly #due: Timer;
  /** And when its stream owes a mark. */
  readonly #marking: Timer;

  #running = false;
  #stopped = false;
  #identity: Identity | null = null;
  readonly #persisting = new Ring<Persisting>(PERSISTING_MAX);
  readonly #heldWriter = new ByteWriter();
  readonly #replyWriter = new ByteWriter();
  #wantWork = false;
  /** Something was decided in this turn that other streams may wait for. */
  #hasten = false;
  #executedStepped: Instance = 0;
  /** The ballot in which this member paces its stream as the coordinator; 0 while it does not. */
  #pacedBallot: Ballot = 0;
  /** When this member has led for long enough to hand over to the replica that is preferred. */
  #preferAt = 0;
  readonly #markWriter = new ByteWriter(64);
  #leaderTold: ReplicaId = 0;
  /** How far g_all is decided at other replicas, as far as heard, and heard by the last housekeeping. */
  #allHeard: Instance = 0;
  #allHeardBefore: Instance = 0;
  #recoveredTold = false;
  #paused = false;
  readonly #misdirected = new Set<Route>();

  constructor(init: Omit<ReplicaInit, "siblings">, parts: HostParts) {
    this.#init = init;
    this.#parts = parts;
    this.#membership = parts.membership;
    this.#options = replicaOptions(init.options);
    const platform = (this.#platform = init.platform);
    this.#module = parts.ordering;
    const { arenaChunkBytes, checkpointBytes } = this.#options;
    const spareBytes = platform.log.revisit === undefined ? checkpointBytes : ARENA_SPARE_BYTES;
    this.#arena = new BatchArena(arenaChunkBytes, Math.ceil(spareBytes / arenaChunkBytes));
    this.#protocol = this.#module.create(
      {
        self: init.self,
        replicas: init.config.replicas.map((replica) => replica.id).sort((a, b) => a - b),
        arena: this.#arena,
        seed: (this.#options.seed * 64 + init.self) >>> 0,
      },
      {
        ...this.#options,
        preferred: this.#membership?.preferred ?? 0,
        otherStreams: this.#membership === null ? 0 : init.config.groups,
      },
    );
    this.#execution = parts.execution;
    this.#routes = new Routes(platform.clients);
    const headroom = this.#membership === null ? 0 : BLOCK_HEADER_BYTES;
    this.#ingress = new Ingress(this.#options.ingressBytesMax, headroom);
    this.#reads = new ReadQueue(this.#options.ingressBytesMax);
    this.#control = new ControlFrames(init, {
      status: () => this.status(),
      leader: () => this.#protocol.inspect().leader,
      order: (block) => this.#ingress.add(block, 0, block.length),
      transferLeadership: () => this.#step({ kind: "transferLeadership", now: this.#now() }),
    });
    this.#state = parts.keepState(this.#stateHost(), this);
    this.#backups =
      // The cut of all members is asked for where g_all is: its positions are those of the checkpoint.
      (this.#membership?.stream ?? 0) > 0
        ? null
        : new BackupServing({
            self: init.self,
            config: init.config,
            store: platform.checkpoints,
            latest: () => this.#state.latest,
            executed: () => this.#execution.inspect().executed,
            now: () => this.#now(),
          });
    const { compareCommands } = this.#options;
    this.#comparison =
      compareCommands === 0 || init.config.replicas.length === 1 || (this.#membership?.stream ?? 0) > 0
        ? null
        : new StateComparison({
            self: init.self,
            replicas: init.config.replicas.map((replica) => replica.id),
            peers: platform.peers,
            events: platform.events,
            everyCommands: compareCommands,
            digest: (into) => this.#execution.digest(into),
            diverged: (divergence) => this.#onDiverged(divergence),
          });
    this.#comparing = platform.scheduler.timer(() => this.#askForDigests());
    this.#turn = platform.scheduler.turn(() => this.#endTurn());
    this.#working = platform.scheduler.turn(() => this.#endWork());
    this.#timer = platform.scheduler.timer(() => {
      if (!this.#running) return;
      this.#step({ kind: "tick", now: this.#now() });
      this.#turn.request();
    });
    this.#housekeeping = platform.scheduler.timer(() => this.#onHousekeeping());
    this.#due = platform.scheduler.timer(() => this.#turn.request());
    this.#marking = platform.scheduler.timer(() => this.#turn.request());
  }

  #stateHost(): StateHost {
    return {
      view: () => this.#protocol.inspect(),
      now: () => this.#now(),
      fatal: (error) => this.#fatal(error),
      requestTurn: () => this.#turn.request(),
      checkpointed: (info, through) => this.#onCheckpointed(info, through),
      replaced: (info, from) => this.#onReplaced(info, from),
      installed: (through) => this.#onInstalled(through),
      fetchFailed: (from) => this.#step({ kind: "fetchFailed", now: this.#now(), from }),
      backupWanted: () => this.#backups?.wanted ?? 0,
    };
  }

  // Life.

  start(): void {
    recover(
      {
        self: this.#init.self,
        config: this.#init.config,
        platform: this.#platform,
        codec: this.#module.codec,
        arena: this.#arena,
        state: this.#state,
        ...(this.#membership === null ? {} : { member: this.#membership.stream }),
      },
      (error, recovered) => {
        if (this.#stopped) return;
        if (error !== null) return this.#fatal(error);
        this.#identity = recovered.identity;
        this.#executedStepped = recovered.through;
        this.#open(recovered.records, recovered.through, recovered.identity.amnesiaNonce);
      },
    );
  }

  #open(records: readonly unknown[], checkpointThrough: Instance, amnesiaNonce: number): void {
    const { peers, clients, log, scheduler } = this.#platform;
    this.#running = true;
    let started = false;
    let prologueOwed = false;
    log.start({
      onDurable: (position) => this.#onDurable(position),
      onFatal: (error) => this.#fatal(error),
      onSegment: () => {
        // The first segment opens before the protocol knows what it remembers; its prologue follows right after.
        if (started) this.#writePrologue();
        else prologueOwed = true;
      },
    });
    this.#comparison?.begin(checkpointThrough, this.#execution.inspect().ordered);
    const now = this.#now();
    const wallMs = scheduler.clock.wallMs();
    const logBytesMax = this.#state.boundLog();
    const recallable = log.revisit !== undefined;
    const recovered = { records, checkpointThrough, amnesiaNonce, wallMs, logBytesMax, recallable };
    this.#step({ kind: "start", now, recovered });
    started = true;
    if (this.#protocol.inspect().role === "recovering")
      this.#platform.events.warn("no promises yet", { checkpointThrough });
    this.#state.started();
    if (prologueOwed) this.#writePrologue();
    peers.start({
      onLink: (peer, up) => this.#onPeerLink(peer, up),
      onFrame: (from, kind, bytes, view, start, end) => this.#onPeerFrame(from, kind, bytes, view, start, end),
      onDrain: (peer) => this.#step({ kind: "link", now: this.#now(), peer, up: true, inFlightBytes: 0 }),
    });
    clients.forEach((port, index) => port.start(this.#clientHandlers(port, index)));
    this.#membership?.onRing(() => this.#onRing());
    this.#preferAt = now + PREFER_MS;
    this.#housekeeping.set(now + HOUSEKEEPING_MS);
    if (this.#comparison !== null) this.#comparing.set(now + COMPARE_MS);
    this.#turn.request();
  }

  stop(done: () => void): void {
    if (this.#stopped || !this.#running) {
      this.#stopped = true;
      done();
      return;
    }
    const clock = this.#platform.scheduler.clock;
    const until = clock.monotonicMs() + HANDOVER_MS;
    if (this.#protocol.inspect().role === "leader" && this.#init.config.replicas.length > 1) {
      this.#step({ kind: "transferLeadership", now: this.#now() });
      this.#turn.request();
    }
    const poll = this.#platform.scheduler.timer(() => {
      const leads = this.#protocol.inspect().role === "leader" && this.#init.config.replicas.length > 1;
      if (leads && clock.monotonicMs() < until && this.#running) poll.set(clock.monotonicMs() + 5);
      else this.#close(done);
    });
    poll.set(clock.monotonicMs());
  }

  #close(done: () => void): void {
    this.#running = false;
    this.#stopped = true;
    this.#timer.clear();
    this.#housekeeping.clear();
    this.#comparing.clear();
    this.#due.clear();
    this.#marking.clear();
    this.#state.close();
    this.#backups?.close();
    const { peers, clients, log } = this.#platform;
    let open = clients.length + 2;
    const closed = (): void => {
      if (--open === 0) done();
    };
    log.close(closed);
    peers.close(closed);
    for (const port of clients) port.close(closed);
  }

  #fatal(error: Error): void {
    if (this.#stopped) return;
    this.#running = false;
    this.#stopped = true;
    this.#timer.clear();
    this.#housekeeping.clear();
    this.#comparing.clear();
    this.#due.clear();
    this.#marking.clear();
    this.#init.onFatal(error);
  }

  status(): ReplicaStatus {
    const view = this.#protocol.inspect();
    const execution = this.#execution.inspect();
    const { failed, passed = 0, conservative = 0 } = execution;
    const size = this.#parts.size();
    return {
      id: this.#init.self,
      role: view.role,
      ballot: view.ballot,
      leader: view.leader,
      decided: view.decided,
      executed: execution.executed,
      trimmed: view.trimmed,
      checkpoint: this.#state.through,
      checkpointBytes: this.#state.latest?.bytes ?? 0,
      commands: execution.commands,
      sessions: execution.sessions,
      entries: size.entries,
      stateBytes: size.bytes,
      logBytes: view.logBytes,
      logMemoryBytes: view.logMemoryBytes,
      ...(failed === undefined ? {} : { optimistic: { failed, passed, conservative } }),
      differing: this.#comparison?.differing ?? [],
    };
  }

  queues(visit: QueueVisitor): void {
    const { arenaChunkBytes } = this.#options;
    const { logBytesMax } = this.#state;
    visit("ingress bytes", this.#ingress.bytes, this.#ingress.bytesMax);
    visit("read bytes", this.#reads.bytes, this.#options.ingressBytesMax);
    visit("read groups", this.#reads.groups, READ_GROUPS_MAX);
    visit("records to persist", this.#persisting.size, PERSISTING_MAX);
    visit("sessions with blocks under way", this.#underway.sessions, SESSIONS_UNDERWAY_MAX);
    visit("routes of sessions", this.#routes.sessions, ROUTED_SESSIONS_MAX);
    visit("routes of openings", this.#routes.openings, ROUTED_OPENINGS_MAX);
    // Values that close a gap are taken by a full log as well, and memory comes in chunks.
    const slack = Math.max(arenaChunkBytes, BATCH_BYTES_MAX);
    visit("log bytes", this.#protocol.inspect().logBytes, 2 * logBytesMax + slack);
    this.#state.queues(visit);
    this.#execution.queues?.(visit);
  }

  #now(): number {
    return this.#platform.scheduler.clock.monotonicMs();
  }

  // Events into the protocol.

  #step(event: ProtocolEvent<unknown, unknown>): void {
    if (!this.#running) return;
    this.#protocol.step(event, this);
    this.#turn.request();
  }

  #onPeerLink(peer: ReplicaId, up: boolean): void {
    if (up) this.#comparison?.onPeer();
    else this.#state.onPeerGone(peer);
    const inFlightBytes = up ? this.#platform.peers.inFlightBytes(peer) : 0;
    this.#step({ kind: "link", now: this.#now(), peer, up, inFlightBytes });
  }

  #onPeerFrame(from: ReplicaId, kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): void {
    if (!this.#running) return;
    if (kind === FrameKind.stateDigest) {
      this.#onStateDigest(from, view, start, end);
      return;
    }
    if (kind > FrameKind.protocolMax) {
      if (!this.#state.onFrame(from, kind, bytes, view, start, end)) {
        this.#platform.peers.disconnect(from, `frame of kind ${kind} is malformed or unknown`);
      }
      this.#turn.request();
      return;
    }
    const message = this.#module.codec.decode(kind, bytes, view, start, end);
    if (message === null) {
      this.#platform.peers.disconnect(from, `message of kind ${kind} is malformed`);
      return;
    }
    this.#step({ kind: "message", now: this.#now(), from, message, span: { bytes, view, start, end } });
  }

  #onDurable(position: number): void {
    if (!this.#running) return;
    let token = 0;
    let votes = 0;
    for (;;) {
      const next = this.#persisting.at(0);
      if (next === undefined || next.position > position) break;
      this.#persisting.shift();
      token = next.token;
      for (const frame of next.held) {
        const body = this.#platform.peers.begin(frame.to, frame.kind);
        if (body === null) continue;
        body.copy(frame.body, 0, frame.body.length);
        this.#platform.peers.end();
        votes++;
      }
    }
    // Somebody waits for these, and nothing that this turn may still bring would go with them.
    if (votes > 0) this.#platform.peers.flush();
    if (token !== 0) this.#step({ kind: "persisted", now: this.#now(), token });
  }

  // Clients.

  #clientHandlers(port: FramePort, index: number): FrameHandlers {
    return {
      onLink: (link, up) => {
        const route = routeOf(index, link);
        if (up) {
          this.#routes.opened(route);
          this.#control.welcome(port, link);
          if (this.#paused) port.pause(link);
          this.#turn.request();
        } else {
          this.#routes.closed(route);
          this.#backups?.onLinkDown(port, link);
        }
      },
      onFrame: (link, kind, bytes, view, start, end) => {
        if (!this.#running) return;
        const route = routeOf(index, link);
        if (kind === FrameKind.block || kind === FrameKind.read) {
          if (checkBlock(view, start, end) !== end - start) return port.disconnect(link, "malformed block");
          if (!this.#onBlock(route, kind, bytes, view, start, end))
            port.disconnect(link, "block of a kind not for clients");
        } else if (
          this.#backups?.onFrame(port, link, kind, view, start, end) !== true &&
          !this.#control.onFrame(port, link, kind, bytes, start, end)
        ) {
          port.disconnect(link, `frame of kind ${kind} is malformed or unknown`);
        }
        this.#turn.request();
      },
      onDrain: (link) => this.#backups?.onDrain(port, link),
    };
  }

  #onBlock(route: Route, frame: number, bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
    const kind = blockKind(view, start);
    const read = kind === BlockKind.read;
    if (read !== (frame === FrameKind.read) || !this.#isOfStream(kind, view, start)) return false;
    const protocol = this.#protocol.inspect();
    if (protocol.role !== "leader") {
      this.#misdirected.add(route);
      return true;
    }
    if (read) {
      if (!protocol.readable || !this.#reads.add(route, bytes, start, end)) this.#misdirected.add(route);
      return true;
    }
    if (kind === BlockKind.openSession) this.#routes.noteOpening(nonceAt(bytes, start + BLOCK_HEADER_BYTES), route);
    else if (kind === BlockKind.commands || kind === BlockKind.closeSession)
      this.#routes.note(blockSession(view, start), route);
    else if (kind !== BlockKind.conservative) return false;
    if (kind === BlockKind.commands) this.#takeCommands(bytes, view, start, end, protocol.ballot);
    else if (kind === BlockKind.conservative) this.#takeConservative(bytes, view, start, end);
    // A block that is not taken is as good as lost on the way: the client sends it again.
    else this.#ingress.add(bytes, start, end);
    if (this.#ingress.full && !this.#paused) this.#pauseClients(true);
    return true;
  }

  /** Whether a block may come to this member: its stream's commands, and in g_all what concerns sessions. Reads are ordered. */
  #isOfStream(kind: number, view: DataView, start: number): boolean {
    if (this.#membership === null) return kind !== BlockKind.conservative;
    const { stream, conservative, conservativeFromClients } = this.#membership;
    if (kind === BlockKind.commands) return blockStream(view, start) === stream;
    if (kind === BlockKind.conservative) {
      return conservative !== null && conservativeFromClients && blockStream(view, start) <= this.#init.config.groups;
    }
    return stream === 0 && kind !== BlockKind.read;
  }

  /** Takes a block of commands, unless it is a copy: of one that is under way, or of one whose replies are remembered. */
  #takeCommands(bytes: Uint8Array, view: DataView, start: number, end: number, ballot: Ballot): void {
    const session = blockSession(view, start);
    const first = blockSequence(view, start);
    const count = blockCommands(view, start);
    if (this.#underway.has(ballot, session, first, count)) return;
    if (this.#execution.answerAgain?.(view, start, this) === true) return;
    if (this.#ingress.add(bytes, start, end)) this.#underway.add(ballot, session, first, count);
  }

  /** Takes a block of commands that failed from their client, unless it is a copy of one on its way. */
  #takeConservative(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    if (this.#membership?.conservative?.isDecided(view, start) === false) this.again(bytes, view, start, end);
  }

  #pauseClients(paused: boolean): void {
    this.#paused = paused;
    for (const route of this.#routes.links) {
      if (paused) this.#routes.port(route).pause(routeLink(route));
      else this.#routes.port(route).resume(routeLink(route));
    }
  }

  // The end of a turn.

  #endTurn(): void {
    if (!this.#running) return;
    const { peers, log } = this.#platform;
    const ticket = this.#reads.close();
    if (ticket !== 0) {
      this.#considerReadTime();
      this.#protocol.step({ kind: "read", now: this.#now(), ticket }, this);
    }
    this.#propose();
    this.#protocol.step({ kind: "turn", now: this.#now(), hasten: this.#hasten }, this);
    this.#hasten = false;
    this.#tell();
    // The others first: a decision waits for their disks, and for the way there and back.
    peers.flush();
    log.flush();
    this.#working.request();
  }

  /** What a turn leaves for its end: the votes that the log has confirmed meanwhile are gone by then. */
  #endWork(): void {
    if (!this.#running) return;
    this.#execute();
    // What a replica executes while it finds that its state is wrong is told nobody.
    if (!this.#running) return;
    this.#considerDue();
    for (const port of this.#platform.clients) port.flush();
    this.#state.consider();
  }

  #propose(): void {
    const protocol = this.#protocol.inspect();
    const execution = this.#execution.inspect();
    this.#pace();
    if (protocol.role !== "leader" && this.#ingress.blocks > 0) {
      // Nobody but the coordinator proposes: the clients are told where to send what is dropped here.
      this.#ingress.clear();
      this.#underway.clear();
      this.#membership?.conservative?.lose();
      for (const route of this.#routes.links) this.#misdirected.add(route);
    }
    while (this.#ingress.blocks > 0 && protocol.proposable && protocol.logFill <= this.#state.logFillMax) {
      if (protocol.opened - execution.executed >= execution.windowMax) break;
      const batch = this.#ingress.take(this.#arena, this.#options.batchBytesMax, this.#mark());
      if (batch === null) break;
      this.#stepProposal(batch);
    }
    this.#considerMark();
    if (this.#paused && this.#ingress.bytes < this.#options.ingressBytesMax / 2) this.#pauseClients(false);
  }

  /**
   * Tells the pacing of this stream whether this replica coordinates it, before anything is proposed. A coordinator that may not
   * propose yet may have more to take over from the one before than it has opened so far.
   */
  #pace(): void {
    const pacing = this.#membership?.pacing;
    if (pacing === undefined) return;
    const { role, ballot, opened, proposableEmpty } = this.#protocol.inspect();
    const paced = role === "leader" ? ballot : 0;
    if (paced === this.#pacedBallot || (paced !== 0 && !proposableEmpty)) return;
    this.#pacedBallot = paced;
    if (paced === 0) pacing.follow();
    else pacing.lead(opened);
  }

  /** The mark of the batch that is proposed next, or null if it needs none. */
  #mark(): ByteWriter | null {
    const pacing = this.#membership?.pacing;
    if (pacing === undefined) return null;
    this.#markWriter.clear();
    return pacing.mark(this.#markWriter, this.#pacingTime()) ? this.#markWriter : null;
  }

  /**
   * What pacing goes by, in ms since the epoch: the machine's clock, since agreed time begins as late in a ballot as the promises
   * for it took to come, and streams that are behind each other hold each other's commands back. Nothing but latency depends on it.
   */
  #pacingTime(): number {
    return Math.max(this.#now() + this.#protocol.inspect().timeOffsetMs, this.#platform.scheduler.clock.wallMs());
  }

  /**
   * Proposes a batch of nothing but a mark when one is due, so that other streams are not held up. A full log takes it as well,
   * as far as the protocol lets it: a checkpoint, which would make room, waits for a barrier, and that for the mark.
   */
  #considerMark(): void {
    const pacing = this.#membership?.pacing;
    const protocol = this.#protocol.inspect();
    if (pacing === undefined || protocol.role !== "leader") return;
    const { proposableEmpty, opened } = protocol;
    const block = proposableEmpty ? (this.#membership?.blockDue(this.#now(), opened + 1) ?? null) : null;
    if (block !== null) {
      const mark = this.#mark();
      const writer = mark ?? this.#markWriter;
      writer.copy(block.bytes, 0, block.length);
      this.#stepProposal(this.#arena.build(writer.bytes, 0, writer.length, mark === null ? 1 : 2, 0, 0));
    }
    const time = this.#pacingTime();
    const at = pacing.due(time);
    if (at > time) {
      if (at < Infinity) this.#marking.set(this.#now() + at - time);
    } else if (protocol.proposableEmpty) {
      const mark = this.#mark();
      if (mark !== null) this.#stepProposal(this.#arena.build(mark.bytes, 0, mark.length, 1, 0, 0));
    }
  }

  /** Another member has decided something of g_all, has come to a barrier, or wants something. */
  #onRing(): void {
    if (!this.#running || this.#membership === null) return;
    const through = this.#membership.allDecided();
    this.#membership.pacing.allDecided(through);
    this.#step({ kind: "aside", now: this.#now(), value: through });
    const known = this.#membership.allKnown();
    if (known > through) this.#step({ kind: "known", now: this.#now(), through: known });
    this.#wantWork = true;
    this.#turn.request();
  }

  #stepProposal(batch: Batch): void {
    this.#membership?.pacing.proposed(this.#protocol.inspect().opened + 1, batch);
    const now = this.#now();
    this.#protocol.step({ kind: "propose", now, batch }, this);
    this.#init.metrics?.proposed(this.#protocol.inspect().opened, now);
  }

  /** Tells clients who leads, when that changed or when they asked the wrong replica. */
  #tell(): void {
    const { leader, role } = this.#protocol.inspect();
    if (leader !== this.#leaderTold) {
      this.#leaderTold = leader;
      this.#init.onLeader?.(leader);
      this.#platform.events.info("leader changed", { leader, ballot: this.#protocol.inspect().ballot });
      if (leader !== 0) for (const route of this.#routes.links) this.#misdirected.add(route);
    }
    for (const route of this.#misdirected) this.#control.redirect(this.#routes.port(route), routeLink(route), leader);
    this.#misdirected.clear();
    if (!this.#recoveredTold && role !== "recovering") {
      this.#recoveredTold = true;
      this.#init.onRecovered?.();
    }
  }

  #execute(): void {
    if (this.#wantWork && !this.#state.installing) {
      this.#wantWork = false;
      this.#execution.step({ kind: "work", budget: WORK_COMMANDS }, this);
    }
    const { executed } = this.#execution.inspect();
    if (executed > this.#executedStepped) {
      this.#executedStepped = executed;
      this.#step({ kind: "executed", now: this.#now(), through: executed, speculative: false, replies: null });
    }
    if (this.#wantWork) this.#turn.request();
  }

  /**
   * Reads use the last agreed time, which stands still while nobody writes: what is left until something is due would then
   * never become less. So a coordinator without commands orders an empty batch ahead of reads when agreed time is behind, if
   * the service has anything that depends on it.
   */
  #considerReadTime(): void {
    const { due, executed, time } = this.#execution.inspect();
    if (due === Infinity || this.#ingress.blocks > 0) return;
    const protocol = this.#protocol.inspect();
    if (protocol.role !== "leader" || !protocol.proposable || executed < protocol.opened) return;
    if (this.#now() + protocol.timeOffsetMs - time < READ_TIME_LAG_MS_MAX) return;
    this.#stepProposal(this.#arena.empty(0));
  }

  /**
   * A coordinator without commands orders an empty batch when something of the service is due, so that agreed time reaches
   * it (DESIGN safety rule 8). One at a time: what the batch before it has left over is known when that has executed.
   */
  #considerDue(): void {
    const { due, executed } = this.#execution.inspect();
    if (due === Infinity) return;
    const protocol = this.#protocol.inspect();
    if (protocol.role !== "leader" || !protocol.proposable || executed < protocol.opened) return;
    const now = this.#now();
    const at = due - protocol.timeOffsetMs;
    if (at > now) {
      this.#due.set(at);
      return;
    }
    this.#stepProposal(this.#arena.empty(0));
    this.#turn.request();
  }

  // Effects of the protocol.

  send(to: ReplicaId, message: unknown): void {
    const { codec } = this.#module;
    const body = this.#platform.peers.begin(to, codec.kindOf(message));
    if (body === null) return;
    codec.encode(message, body);
    this.#platform.peers.end();
  }

  persist(token: number, record: unknown, held: readonly HeldSend<unknown>[]): void {
    const { codec } = this.#module;
    codec.encodeRecord(record, this.#platform.log.begin(codec.recordInstance(record)));
    const position = this.#platform.log.end();
    const frames: HeldFrame[] = [];
    for (const { to, message } of held) {
      // Encoded as of now: what the message points at may be trimmed or replaced by the time it leaves.
      this.#heldWriter.clear();
      codec.encode(message, this.#heldWriter);
      frames.push({ to, kind: codec.kindOf(message), body: this.#heldWriter.toBytes() });
    }
    this.#persisting.push({ position, token, held: frames });
  }

  #writePrologue(): void {
    const { codec } = this.#module;
    for (const record of this.#protocol.prologue()) {
      codec.encodeRecord(record, this.#platform.log.begin(0));
      this.#platform.log.end();
    }
  }

  wakeAt(time: number): void {
    if (time === Infinity) this.#timer.clear();
    else this.#timer.set(time);
  }

  reveal(instance: Instance, batch: Batch): void {
    this.#execution.step({ kind: "revealed", stream: 0, instance, batch }, this);
  }

  revoke(from: Instance): void {
    this.#execution.step({ kind: "revoked", stream: 0, from }, this);
  }

  decide(instance: Instance, batch: Batch): void {
    this.#init.metrics?.decided(instance, this.#now());
    if (this.#init.traceValues === true) {
      const hash = hashBytes(batch.bytes, batch.start, batch.end, 7);
      this.trace(TraceCode.decided, instance, this.#protocol.inspect().ballot, hash);
    }
    const pacing = this.#membership?.pacing;
    if (pacing !== undefined) {
      pacing.decided(instance, batch);
      if (pacing.awaited(batch)) this.#hasten = true;
    }
    this.#state.decided(instance, batch);
  }

  readable(ticket: number, after: Instance): void {
    for (;;) {
      const group = this.#reads.takeThrough(ticket);
      if (group === null) return;
      const { bytes, view } = group.writer;
      for (let i = 0; i < group.items.length; i += 3) {
        const block: Span = { bytes, view, start: group.items[i + 1] as number, end: group.items[i + 2] as number };
        this.#execution.step({ kind: "read", after, route: group.items[i] as Route, block }, this);
      }
      this.#reads.recycle(group);
    }
  }

  refuse(what: Batch | number, _reason: RefuseReason, _leader: ReplicaId): void {
    if (typeof what !== "number") {
      // Its blocks are lost to this replica; their clients send them again when they learn who leads, or by timeout.
      this.#arena.release(what);
      this.#underway.clear();
      for (const route of this.#routes.links) this.#misdirected.add(route);
      if (this.#membership === null) return;
      this.#membership.conservative?.lose();
      // The pacing counts it as under way and would wait for its decision for ever: it begins anew, as behind an election.
      this.#pacedBallot = NOT_PACED;
      this.#turn.request();
      return;
    }
    for (;;) {
      const group = this.#reads.takeThrough(what);
      if (group === null) return;
      for (let i = 0; i < group.items.length; i += 3) this.#misdirected.add(group.items[i] as Route);
      this.#reads.recycle(group);
    }
  }

  trim(through: Instance): void {
    this.#platform.log.trim(through);
  }

  recall(to: ReplicaId, from: Instance, through: Instance): void {
    const { events, log } = this.#platform;
    const recalled = (records: readonly unknown[]): void =>
      this.#step({ kind: "recalled", now: this.#now(), to, records });
    recall({ log, codec: this.#module.codec, arena: this.#arena, events }, from, through, recalled);
  }

  asideHeard(_from: ReplicaId, value: number): void {
    // What any replica knows to be decided is decided: a coordinator names it before its own replica knows.
    if (this.#membership === null) return;
    this.#membership.pacing.allDecided(value);
    if (value > this.#allHeard) this.#allHeard = value;
    this.#turn.request();
  }

  reply(): void {
    assert(false, "no protocol of this host answers clients itself");
  }

  trace(code: TraceCode, a: number, b: number, c: number): void {
    this.#init.metrics?.traced(code);
    this.#init.onTrace?.(code, a, b, c);
  }

  // Effects of execution.

  executed(_stream: number, through: Instance): void {
    // Threads take the digest of what they share at barriers alone.
    if (this.#comparison !== null && this.#membership === null) {
      this.#comparison.executed(through, this.#execution.inspect().ordered);
    }
    // The position is read from the model's view after each piece of work, so that the protocol is not entered from here.
    this.#turn.request();
  }

  replies(): ByteWriter {
    this.#replyWriter.clear();
    return this.#replyWriter;
  }

  replied(session: SessionId, _position: Position, at: number): void {
    if (this.#protocol.inspect().role !== "leader") return;
    const { bytes, view, length } = this.#replyWriter;
    const kind = replyKind(view, at);
    const status = replyStatus(view, at);
    if (kind === BlockKind.commands && (status === ReplyStatus.ok || status === ReplyStatus.failed)) {
      // Of commands that failed a copy is taken as well: it has them multicast again.
      this.#underway.answered(session, replySequence(view, at), replyCount(view, at));
    } else if (kind !== BlockKind.conservative) this.#underway.forget(session);
    const opening = kind === BlockKind.openSession;
    const route = opening
      ? this.#routes.take(nonceAt(bytes, at + REPLY_HEADER_BYTES), session)
      : this.#routes.of(session);
    if (route !== undefined) this.#sendReply(route, bytes, at, length);
  }

  /** Takes a conservative block that is not decided yet, unless it is a copy of one that is to be proposed. */
  again(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    const conservative = this.#membership?.conservative ?? null;
    assert(conservative !== null, "a conservative block came to a host that orders none");
    const { role, ballot } = this.#protocol.inspect();
    if (role !== "leader" || conservative.isTaken(ballot, view, start)) return;
    if (!this.#ingress.add(bytes, start, end)) return;
    conservative.take(ballot, view, start);
    this.#turn.request();
  }

  readWanted(route: Route): boolean {
    return this.#routes.port(route).inFlightBytes(routeLink(route)) < READ_UNSENT_BYTES_MAX;
  }

  readDone(route: Route, at: number): void {
    this.#sendReply(route, this.#replyWriter.bytes, at, this.#replyWriter.length);
  }

  #sendReply(route: Route, bytes: Uint8Array, start: number, end: number): void {
    const port = this.#routes.port(route);
    const body = port.begin(routeLink(route), FrameKind.reply);
    if (body === null) return;
    body.copy(bytes, start, end);
    port.end();
  }

  wantWork(): void {
    this.#wantWork = true;
    this.#turn.request();
  }

  digestTaken(
    nonceHigh: number,
    nonceLow: number,
    position: Position,
    digest: Digest,
    places: readonly Instance[] = [],
  ): void {
    const positions = [position, ...places.map((instance) => positionOf(instance, 0))];
    this.#control.digestTaken(nonceHigh, nonceLow, positions, digestHex(digest));
    if (this.#membership === null || this.#comparison === null) return;
    this.#comparison.taken(instanceOf(position), digest);
    this.#turn.request();
  }

  // Checkpoints and state transfer.

  #onCheckpointed(info: CheckpointInfo, through: Instance): void {
    if (this.#stopped) return;
    this.trace(TraceCode.checkpointed, through, 0, 0);
    this.#platform.events.info("checkpoint", { through, bytes: info.bytes });
    const logBytesMax = this.#state.boundLog();
    this.#step({ kind: "checkpointed", now: this.#now(), through, digest: info.digest, logBytesMax });
    this.#backups?.onCheckpoint();
  }

  fetchState(from: ReplicaId, through: Instance): void {
    this.#state.fetch(from, through);
  }

  #onReplaced(info: CheckpointInfo, from: ReplicaId): void {
    const { executed, ordered } = this.#execution.inspect();
    this.#comparison?.begin(executed, ordered);
    if (executed > this.#executedStepped) this.#executedStepped = executed;
    this.trace(TraceCode.installed, info.through, from, 0);
    this.#platform.events.info("state installed", { from, through: info.through, bytes: info.bytes });
    // Reads that the installed state makes due wait for a piece of work.
    this.#wantWork = true;
  }

  #onInstalled(through: Instance): void {
    this.#step({ kind: "installed", now: this.#now(), through, logBytesMax: this.#state.boundLog() });
    this.#backups?.onCheckpoint();
  }

  // Comparison of states.

  #onStateDigest(from: ReplicaId, view: DataView, start: number, end: number): void {
    const { executed, ordered } = this.#execution.inspect();
    // A state that is being replaced is nobody's; and whoever compares nothing has nothing to say.
    if (this.#comparison === null || this.#state.installing) return;
    if (!this.#comparison.onFrame(from, view, start, end, executed, ordered)) {
      this.#platform.peers.disconnect(from, "a digest is malformed");
    }
    this.#turn.request();
  }

  #askForDigests(): void {
    if (!this.#running || this.#comparison === null) return;
    this.#comparison.flush();
    const asks = this.#protocol.inspect().role === "leader" && this.#membership === null;
    if (asks && !this.#state.installing) {
      const { executed, ordered } = this.#execution.inspect();
      this.#comparison.ask(executed, ordered);
    }
    this.#turn.request();
    this.#comparing.set(this.#now() + COMPARE_MS);
  }

  #onDiverged({ equalThrough, differsAt, commandsEqual, commandsDiffer }: Divergence): void {
    const commands =
      this.#membership === null
        ? `commands ${commandsEqual + 1} to ${commandsDiffer} of the cluster's life`
        : `the commands behind that and in front of instance ${differsAt + 1} of g_all`;
    // The others are to know what this replica had said last.
    this.#platform.peers.flush();
    this.#platform.events.error("diverged", { equalThrough, differsAt, commandsEqual, commandsDiffer });
    this.#fatal(
      new DivergedError(
        `the state of replica ${this.#init.self} differs from that of a majority behind instance ${differsAt}; it was equal ` +
          `behind instance ${equalThrough}, so that one of ${commands} was executed otherwise here`,
      ),
    );
  }

  /** A member that coordinates a stream which another replica is to coordinate gives it up to that one, if it can have it. */
  #considerPreferred(): void {
    const preferred = this.#membership?.preferred ?? this.#init.self;
    const now = this.#now();
    if (this.#protocol.inspect().role !== "leader" || preferred === this.#init.self) this.#preferAt = now + PREFER_MS;
    else if (now >= this.#preferAt) {
      this.#preferAt = now + PREFER_MS;
      this.#step({ kind: "transferLeadership", now, to: preferred });
    }
  }

  /** Decisions of g_all that are long known elsewhere are not on their way: this replica does not reach g_all's coordinator. */
  #considerAllHeard(): void {
    if (this.#membership === null) return;
    if (this.#allHeardBefore > this.#membership.allDecided()) this.#membership.allHeard(this.#allHeardBefore);
    this.#allHeardBefore = this.#allHeard;
  }

  #onHousekeeping(): void {
    if (!this.#running) return;
    this.#considerAllHeard();
    this.#considerPreferred();
    this.#state.onTick();
    this.#backups?.onTick();
    this.#housekeeping.set(this.#now() + HOUSEKEEPING_MS);
    this.#turn.request();
  }

  /** The identity as it was found or made at start; for tests and status. */
  get identity(): Identity | null {
    return this.#identity;
  }
}

/** The 16 bytes of a nonce as a map key. */
function nonceAt(bytes: Uint8Array, at: number): string {
  let text = "";
  for (let i = 0; i < 16; i++) text += String.fromCharCode(bytes[at + i] as number);
  return text;
}
