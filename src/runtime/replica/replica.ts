// Hot file: work is per frame, per batch and per turn, never per command. Watched by bench/cluster.mjs.
import { assert, ByteWriter, hashBytes, MiB, Ring } from "../../base/index.js";
import {
  type Ballot,
  type Batch,
  BATCH_BYTES_MAX,
  BATCH_HEADER_BYTES,
  BatchArena,
  BLOCK_HEADER_BYTES,
  blockCommands,
  blockKind,
  BlockKind,
  blockSequence,
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
  type Service,
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
import { Checkpointing, digestHex } from "./checkpointing.js";
import { ControlFrames } from "./control-frames.js";
import { Ingress, READ_GROUPS_MAX, ReadQueue } from "./ingress.js";
import { replicaOptions } from "./options.js";
import { recover } from "./recovery.js";
import { ROUTED_OPENINGS_MAX, ROUTED_SESSIONS_MAX, routeLink, routeOf, type Route, Routes } from "./routes.js";
import { type Divergence, StateComparison } from "./state-comparison.js";
import { StateTransfer } from "./state-transfer.js";

/** Commands executed before a turn lets the network and the disk have their say. */
const WORK_COMMANDS = 2048;
/** While nobody writes, reads see an agreed time that is at most about so far behind, in ms. */
const READ_TIME_LAG_MS_MAX = 50;
/** A client that leaves so many bytes of replies unread is answered no reads; it sends them again. */
const READ_UNSENT_BYTES_MAX = 8 * MiB;
/** Memory of trimmed batches that is kept for the next ones. */
const ARENA_SPARE_BYTES = 32 * MiB;
/** Records that wait for the disk; each is in the log's memory, which is full long before. */
const PERSISTING_MAX = 1_048_576;
/** Stalled transfers and the like are looked for this often, in ms. */
const HOUSEKEEPING_MS = 500;
/** A coordinator asks this often for the others' digests, in ms, if it has executed anything since. */
const COMPARE_MS = 250;
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
  const named = siblingsOf(init.config);
  return new ReplicaHost(init, { ...named, ...init.siblings });
}

/**
 * Drives the pure cores of one replica with its platform: events in, effects out.
 *
 * A turn: input is stepped as it comes; at the turn's end the reads and then the blocks that came in are given to the
 * protocol, everything is sent with one write per link and one group commit, and only then decided batches execute, so
 * that votes never wait for execution.
 */
class ReplicaHost implements Replica, EffectSink<unknown, unknown, unknown>, ExecutionSink {
  readonly #init: ReplicaInit;
  readonly #options: ReplicaOptions;
  readonly #platform: ReplicaPlatform;
  readonly #module: ProtocolModule<unknown, unknown, unknown>;
  readonly #protocol: Protocol<unknown, unknown, unknown>;
  readonly #arena: BatchArena;
  readonly #service: Service;
  readonly #execution: ExecutionModel;
  readonly #routes: Routes;
  readonly #ingress: Ingress;
  readonly #underway = new BlocksUnderway();
  readonly #reads: ReadQueue;
  readonly #control: ControlFrames;
  readonly #checkpointing: Checkpointing;
  readonly #transfer: StateTransfer;
  readonly #backups: BackupServing;
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

  #running = false;
  #stopped = false;
  #identity: Identity | null = null;
  #latestCheckpoint: CheckpointInfo | null = null;
  readonly #persisting = new Ring<Persisting>(PERSISTING_MAX);
  readonly #heldWriter = new ByteWriter(4096);
  readonly #replyWriter = new ByteWriter(64 * 1024);
  #wantWork = false;
  #executedStepped: Instance = 0;
  /** Bytes of decided batches that the newest checkpoint, or the one under way, does not cover. */
  #bytesSinceCheckpoint = 0;
  #instanceAtCheckpoint: Instance = 0;
  /** Bound of the log's memory: what is configured, or as much as the state takes. */
  #logBytesMax: number;
  #pendingFetch: { from: ReplicaId; through: Instance } | null = null;
  /** A fetched checkpoint is being put in place; what is decided meanwhile waits in `#heldDecisions`. */
  #installing = false;
  #heldDecisions: { readonly instance: Instance; readonly batch: Batch }[] = [];
  #leaderTold: ReplicaId = 0;
  #recoveredTold = false;
  #paused = false;
  readonly #misdirected = new Set<Route>();

  constructor(init: ReplicaInit, siblings: ReplicaSiblings) {
    this.#init = init;
    this.#options = replicaOptions(init.options);
    const platform = (this.#platform = init.platform);
    this.#module = siblings.ordering;
    const { arenaChunkBytes } = this.#options;
    this.#arena = new BatchArena(arenaChunkBytes, Math.ceil(ARENA_SPARE_BYTES / arenaChunkBytes));
    this.#protocol = this.#module.create(
      {
        self: init.self,
        replicas: init.config.replicas.map((replica) => replica.id).sort((a, b) => a - b),
        arena: this.#arena,
        seed: (this.#options.seed * 64 + init.self) >>> 0,
      },
      this.#options,
    );
    this.#service = siblings.createService();
    this.#execution = siblings.createExecution(this.#service);
    this.#routes = new Routes(platform.clients);
    this.#ingress = new Ingress(this.#options.ingressBytesMax);
    this.#reads = new ReadQueue(this.#options.ingressBytesMax);
    this.#control = new ControlFrames(init, {
      status: () => this.status(),
      leader: () => this.#protocol.inspect().leader,
      order: (block) => this.#ingress.add(block, 0, block.length),
      transferLeadership: () => this.#step({ kind: "transferLeadership", now: this.#now() }),
    });
    this.#checkpointing = new Checkpointing({
      store: platform.checkpoints,
      execution: this.#execution,
      sliceBytes: this.#options.checkpointSliceBytes,
      pressed: () => this.#pressed,
      // The room for proposals grows with what is written.
      advanced: () => this.#turn.request(),
      done: (error, through, digest, bytes) => this.#onCheckpointed(error, through, digest, bytes),
    });
    this.#logBytesMax = this.#options.logBytesMax;
    this.#transfer = new StateTransfer({
      peers: platform.peers,
      store: platform.checkpoints,
      latest: () => this.#latestCheckpoint,
      now: () => this.#now(),
      done: (error, from, info) => this.#onFetched(error, from, info),
    });
    this.#backups = new BackupServing({
      self: init.self,
      config: init.config,
      store: platform.checkpoints,
      latest: () => this.#latestCheckpoint,
      executed: () => this.#execution.inspect().executed,
      now: () => this.#now(),
    });
    const { compareCommands } = this.#options;
    this.#comparison =
      compareCommands === 0 || init.config.replicas.length === 1
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
        execution: this.#execution,
      },
      (error, recovered) => {
        if (this.#stopped) return;
        if (error !== null) return this.#fatal(error);
        this.#identity = recovered.identity;
        this.#latestCheckpoint = recovered.checkpoint;
        this.#checkpointing.through = recovered.checkpoint?.through ?? 0;
        this.#instanceAtCheckpoint = this.#checkpointing.through;
        this.#executedStepped = this.#checkpointing.through;
        // Replicas take their checkpoints at different times: the first interval is shorter by the replica's number.
        this.#bytesSinceCheckpoint = Math.floor((this.#options.checkpointBytes * (this.#init.self % 8)) / 16);
        this.#open(recovered.records, recovered.identity.amnesiaNonce);
      },
    );
  }

  #open(records: readonly unknown[], amnesiaNonce: number): void {
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
    this.#comparison?.begin(this.#checkpointing.through, this.#execution.inspect().ordered);
    const now = this.#now();
    const checkpointThrough = this.#checkpointing.through;
    const wallMs = scheduler.clock.wallMs();
    const logBytesMax = this.#boundLog();
    this.#step({ kind: "start", now, recovered: { records, checkpointThrough, amnesiaNonce, wallMs, logBytesMax } });
    started = true;
    if (this.#protocol.inspect().role === "recovering")
      this.#platform.events.warn("not a voter yet", { checkpointThrough });
    // What the log holds already counts: replicas that start again and again before an interval is over would otherwise
    // fill their logs, and a full log takes nothing that could make a checkpoint due.
    this.#bytesSinceCheckpoint += this.#protocol.inspect().logBytes;
    if (prologueOwed) this.#writePrologue();
    peers.start({
      onLink: (peer, up) => this.#onPeerLink(peer, up),
      onFrame: (from, kind, bytes, view, start, end) => this.#onPeerFrame(from, kind, bytes, view, start, end),
      onDrain: (peer) => this.#step({ kind: "link", now: this.#now(), peer, up: true, inFlightBytes: 0 }),
    });
    clients.forEach((port, index) => port.start(this.#clientHandlers(port, index)));
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
    this.#transfer.close();
    this.#backups.close();
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
    this.#init.onFatal(error);
  }

  status(): ReplicaStatus {
    const view = this.#protocol.inspect();
    const execution = this.#execution.inspect();
    const size = this.#service.size();
    return {
      id: this.#init.self,
      role: view.role,
      ballot: view.ballot,
      leader: view.leader,
      decided: view.decided,
      executed: execution.executed,
      trimmed: view.trimmed,
      checkpoint: this.#checkpointing.through,
      checkpointBytes: this.#latestCheckpoint?.bytes ?? 0,
      commands: execution.commands,
      sessions: execution.sessions,
      entries: size.entries,
      stateBytes: size.bytes,
      logBytes: view.logBytes,
      differing: this.#comparison?.differing ?? [],
    };
  }

  queues(visit: QueueVisitor): void {
    const { arenaChunkBytes } = this.#options;
    const logBytesMax = this.#logBytesMax;
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
    // What is decided while a state is put in place stands in the log's memory.
    visit("decisions held back", this.#heldDecisions.length, Math.ceil((2 * logBytesMax + slack) / BATCH_HEADER_BYTES));
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
    else this.#transfer.onPeerGone(peer);
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
      if (!this.#transfer.onFrame(from, kind, bytes, view, start, end)) {
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
          this.#backups.onLinkDown(port, link);
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
          !this.#backups.onFrame(port, link, kind, view, start, end) &&
          !this.#control.onFrame(port, link, kind, bytes, start, end)
        ) {
          port.disconnect(link, `frame of kind ${kind} is malformed or unknown`);
        }
        this.#turn.request();
      },
      onDrain: (link) => this.#backups.onDrain(port, link),
    };
  }

  #onBlock(route: Route, frame: number, bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
    const kind = blockKind(view, start);
    const read = kind === BlockKind.read;
    if (read !== (frame === FrameKind.read)) return false;
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
    else return false;
    if (kind === BlockKind.commands) this.#takeCommands(bytes, view, start, end, protocol.ballot);
    // A block that is not taken is as good as lost on the way: the client sends it again.
    else this.#ingress.add(bytes, start, end);
    if (this.#ingress.full && !this.#paused) this.#pauseClients(true);
    return true;
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
    this.#protocol.step({ kind: "turn", now: this.#now() }, this);
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
    this.#considerCheckpoint();
  }

  #propose(): void {
    const protocol = this.#protocol.inspect();
    const execution = this.#execution.inspect();
    if (protocol.role !== "leader" && this.#ingress.blocks > 0) {
      // Nobody but the coordinator proposes: the clients are told where to send what is dropped here.
      this.#ingress.clear();
      this.#underway.clear();
      for (const route of this.#routes.links) this.#misdirected.add(route);
    }
    while (this.#ingress.blocks > 0 && protocol.proposable && protocol.logFill <= this.#logFillMax) {
      if (protocol.opened - execution.executed >= execution.windowMax) break;
      const batch = this.#ingress.take(this.#arena, this.#options.batchBytesMax);
      if (batch === null) break;
      this.#stepProposal(batch);
    }
    if (this.#paused && this.#ingress.bytes < this.#options.ingressBytesMax / 2) this.#pauseClients(false);
  }

  #stepProposal(batch: Batch): void {
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
    if (this.#wantWork && !this.#installing) {
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
    this.#bytesSinceCheckpoint += batch.end - batch.start;
    this.#init.metrics?.decided(instance, this.#now());
    if (this.#init.traceValues === true) {
      const hash = hashBytes(batch.bytes, batch.start, batch.end, 7);
      this.trace(TraceCode.decided, instance, this.#protocol.inspect().ballot, hash);
    }
    if (this.#installing) this.#heldDecisions.push({ instance, batch });
    else this.#execution.step({ kind: "decided", stream: 0, instance, batch }, this);
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

  asideHeard(): void {}

  reply(): void {
    assert(false, "no protocol of this host answers clients itself");
  }

  trace(code: TraceCode, a: number, b: number, c: number): void {
    this.#init.metrics?.traced(code);
    this.#init.onTrace?.(code, a, b, c);
  }

  // Effects of execution.

  executed(_stream: number, through: Instance): void {
    if (this.#comparison !== null) this.#comparison.executed(through, this.#execution.inspect().ordered);
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
    if (kind === BlockKind.commands && replyStatus(view, at) === ReplyStatus.ok) {
      this.#underway.answered(session, replySequence(view, at), replyCount(view, at));
    } else this.#underway.forget(session);
    const opening = kind === BlockKind.openSession;
    const route = opening
      ? this.#routes.take(nonceAt(bytes, at + REPLY_HEADER_BYTES), session)
      : this.#routes.of(session);
    if (route !== undefined) this.#sendReply(route, bytes, at, length);
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

  digestTaken(nonceHigh: number, nonceLow: number, position: Position, digest: Digest): void {
    this.#control.digestTaken(nonceHigh, nonceLow, position, digestHex(digest));
  }

  // Checkpoints and state transfer.

  #considerCheckpoint(): void {
    const { executed } = this.#execution.inspect();
    if (this.#checkpointing.busy || this.#transfer.fetching || this.#installing || this.#pendingFetch !== null) return;
    if (executed <= this.#checkpointing.through) return;
    if (this.#backups.wanted > this.#checkpointing.through) return this.#startCheckpoint(executed);
    // A peer that is served a state should find the log above it; but a slow one must not fill this replica's log, which
    // would stop the cluster. What is being served can still be read to its end.
    if (this.#transfer.serving && !this.#pressed) return;
    // Writing a large state more often than the log has grown by its size would cost more than it frees. A log that is half
    // full can't wait for that: what fills it may stand in memory that is partly unused, or be undecided.
    const enough = this.#pressed
      ? this.#logBytesMax / 16
      : Math.max(this.#options.checkpointBytes, Math.min(this.#checkpointing.bytes, this.#logBytesMax / 3));
    const due =
      this.#bytesSinceCheckpoint >= enough ||
      executed - this.#instanceAtCheckpoint >= this.#options.checkpointInstances;
    if (due) this.#startCheckpoint(executed);
  }

  #startCheckpoint(executed: Instance): void {
    // What is decided and not yet executed is left to the next one.
    this.#bytesSinceCheckpoint = this.#execution.inspect().queuedBytes;
    this.#instanceAtCheckpoint = executed;
    this.#checkpointing.start();
  }

  /** More than half of the log's memory is taken. */
  get #pressed(): boolean {
    return this.#protocol.inspect().logFill > 0.5;
  }

  /**
   * How full the log may be for this coordinator to propose. The last quarter is given out as the checkpoint under way gets on, so
   * that clients are slowed while it is written rather than stopped until it is done.
   */
  get #logFillMax(): number {
    if (!this.#checkpointing.busy) return 1;
    const { bytes } = this.#service.size();
    const done = bytes > 0 ? Math.min(1, this.#checkpointing.written / bytes) : 1;
    return 0.75 + 0.25 * done;
  }

  /**
   * Bounds the log's memory anew, by what the state takes now. Of a state that has become smaller the log may be longer than
   * it should be from now on: then the bound follows it down, so that nothing has to wait.
   */
  #boundLog(): number {
    const { logBytesMax, largeLogBytesMax } = this.#options;
    const wanted = Math.max(logBytesMax, Math.min(this.#service.size().bytes, largeLogBytesMax));
    this.#logBytesMax = Math.max(wanted, Math.min(this.#logBytesMax, this.#protocol.inspect().logBytes));
    return this.#logBytesMax;
  }

  #onCheckpointed(error: Error | null, through: Instance, digest: string, bytes: number): void {
    if (this.#stopped) return;
    if (error !== null) return this.#fatal(error);
    this.#latestCheckpoint = { through, digest, bytes };
    this.trace(TraceCode.checkpointed, through, 0, 0);
    this.#platform.events.info("checkpoint", { through, bytes });
    this.#step({ kind: "checkpointed", now: this.#now(), through, digest, logBytesMax: this.#boundLog() });
    this.#backups.onCheckpoint();
    this.#fetchPending();
  }

  fetchState(from: ReplicaId, through: Instance): void {
    this.#pendingFetch = { from, through };
    this.#fetchPending();
  }

  #fetchPending(): void {
    const pending = this.#pendingFetch;
    if (pending === null || this.#checkpointing.busy) return;
    this.#pendingFetch = null;
    this.#platform.events.info("fetching state", { from: pending.from, through: pending.through });
    this.#transfer.fetch(pending.from, pending.through);
    this.#platform.peers.flush();
  }

  #onFetched(error: Error | null, from: ReplicaId, info: CheckpointInfo | null): void {
    if (this.#stopped) return;
    if (error !== null || info === null) {
      this.#platform.events.warn("state transfer failed", { from, error: error?.message ?? "" });
      this.#step({ kind: "fetchFailed", now: this.#now(), from });
      return;
    }
    this.#latestCheckpoint = info;
    // What was decided before still executes first: the log may have overtaken the checkpoint.
    while (this.#execution.inspect().queuedBatches > 0) {
      this.#execution.step({ kind: "work", budget: WORK_COMMANDS }, this);
    }
    if (this.#execution.inspect().executed >= info.through) return this.#installed(info, from);
    this.#installing = true;
    const reader = this.#platform.checkpoints.read(info.through);
    const sink = this.#execution.restore(info.through);
    const next = (): void =>
      reader.next((failure, chunk) => {
        if (this.#stopped) return reader.close();
        if (failure !== null) return this.#fatal(failure);
        try {
          if (chunk !== null) sink.write(chunk, 0, chunk.length);
          else sink.finish();
        } catch (damage) {
          return this.#fatal(damage as Error);
        }
        if (chunk !== null) return next();
        reader.close();
        this.#installing = false;
        this.#installed(info, from);
      });
    next();
  }

  #installed(info: CheckpointInfo, from: ReplicaId): void {
    const { executed } = this.#execution.inspect();
    this.#checkpointing.through = info.through;
    this.#checkpointing.bytes = info.bytes;
    this.#instanceAtCheckpoint = executed;
    this.#comparison?.begin(executed, this.#execution.inspect().ordered);
    if (executed > this.#executedStepped) this.#executedStepped = executed;
    this.trace(TraceCode.installed, info.through, from, 0);
    this.#platform.events.info("state installed", { from, through: info.through, bytes: info.bytes });
    // Reads that the installed state makes due wait for a piece of work.
    this.#wantWork = true;
    const held = this.#heldDecisions;
    this.#heldDecisions = [];
    for (const { instance, batch } of held) {
      // Traced when it was decided; only its execution was put off.
      if (instance > executed) this.#execution.step({ kind: "decided", stream: 0, instance, batch }, this);
    }
    this.#step({ kind: "installed", now: this.#now(), through: info.through, logBytesMax: this.#boundLog() });
    this.#backups.onCheckpoint();
  }

  // Comparison of states.

  #onStateDigest(from: ReplicaId, view: DataView, start: number, end: number): void {
    const { executed, ordered } = this.#execution.inspect();
    // A state that is being replaced is nobody's; and whoever compares nothing has nothing to say.
    if (this.#comparison === null || this.#installing) return;
    if (!this.#comparison.onFrame(from, view, start, end, executed, ordered)) {
      this.#platform.peers.disconnect(from, "a digest is malformed");
    }
    this.#turn.request();
  }

  #askForDigests(): void {
    if (!this.#running || this.#comparison === null) return;
    this.#comparison.flush();
    if (this.#protocol.inspect().role === "leader" && !this.#installing) {
      const { executed, ordered } = this.#execution.inspect();
      this.#comparison.ask(executed, ordered);
    }
    this.#turn.request();
    this.#comparing.set(this.#now() + COMPARE_MS);
  }

  #onDiverged({ equalThrough, differsAt, commandsEqual, commandsDiffer }: Divergence): void {
    const commands = `commands ${commandsEqual + 1} to ${commandsDiffer} of the cluster's life`;
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

  #onHousekeeping(): void {
    if (!this.#running) return;
    this.#transfer.onTick();
    this.#backups.onTick();
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
