import { type ByteWriter, ByteQueue } from "../../base/index.js";
import {
  type Batch,
  CheckpointDamagedError,
  type ExecutionModel,
  type ExecutionSink,
  type Instance,
  type QueueVisitor,
  type ReplicaId,
  type SnapshotSink,
} from "../../model/index.js";
import type { CheckpointInfo, ReplicaPlatform } from "../../platform/index.js";
import type { ReplicaOptions } from "../replica/api.js";
import { restoreCheckpoint } from "../replica/recovery.js";
import type { StateHost, StateKeeping } from "../replica/state-keeping.js";
import type { Bells, MemberParts } from "./api.js";
import { Board } from "./board.js";
import { CutSink } from "./cut-format.js";

/** The rest of the log is kept for marks, without which no barrier comes about to take a cut at, which would make room. */
const LOG_FILL_MAX = 0.9;
/** Most bytes of a thread's places in a cut. */
const PLACES_BYTES_MAX = 4096;

export interface MemberStateInit {
  readonly member: number;
  readonly parts: MemberParts;
  readonly bells: Bells;
  readonly platform: ReplicaPlatform;
  readonly options: ReplicaOptions;
  readonly execution: ExecutionModel;
  readonly sink: ExecutionSink;
  readonly host: StateHost;
  /** Who takes a section of a cut, or null. */
  section(section: number): SnapshotSink | null;
  /** All sections have been taken, of a cut through this instance of g_all; 0 without one. */
  restored(through: Instance): void;
}

/**
 * How a member keeps its part of the state of a replica with several groups, and trims its log by the cuts that the first
 * thread's member writes. That one does more, see `CutState`.
 */
export abstract class MemberState implements StateKeeping {
  protected readonly init: MemberStateInit;
  protected readonly board: Board;
  through: Instance = 0;
  latest: CheckpointInfo | null = null;
  readonly installing = false;
  /** Bytes decided in this life, and how many of them the newest durable cut covers, or that which is being written. */
  #bytes = 0;
  #bytesCovered = 0;
  #bytesAtCut = 0;
  #cutsTaken = 0;
  #cutsDurable = 0;
  #fetchesFailed = 0;
  /** A fetch is wanted that has neither failed nor restarted the replica. */
  #wanted: ReplicaId = 0;

  constructor(init: MemberStateInit) {
    this.init = init;
    this.board = new Board(init.parts.board);
  }

  abstract recover(done: (error: Error | null, through: Instance) => void): void;

  started(): void {
    this.board.setOf(this.init.member, "running", 1);
    this.init.bells.ring(1);
  }

  get logBytesMax(): number {
    return this.init.options.logBytesMax;
  }

  boundLog(): number {
    return this.logBytesMax;
  }

  get logFillMax(): number {
    return LOG_FILL_MAX;
  }

  decided(instance: Instance, batch: Batch): void {
    this.#bytes += batch.end - batch.start;
    // The batch waits in the member's execution, whichever that is, under the number of its own stream.
    this.init.execution.step({ kind: "decided", stream: this.init.member, instance, batch }, this.init.sink);
  }

  consider(): void {
    const { board } = this;
    const { member, host } = this.init;
    board.setOf(member, "bytes", this.#bytes - this.#bytesCovered);
    if (member === 0) this.#tellBackup(host.backupWanted());
    const pressed = host.view().logFill > 0.5 ? 1 : 0;
    if (board.of(member, "pressed") !== pressed) {
      board.setOf(member, "pressed", pressed);
      this.init.bells.ring(1);
    }
    const taken = board.get("cutsTaken");
    if (taken !== this.#cutsTaken) {
      this.#cutsTaken = taken;
      this.#bytesAtCut = this.#bytes;
    }
    const durable = board.get("cutsDurable");
    if (durable !== this.#cutsDurable) {
      this.#cutsDurable = durable;
      this.#bytesCovered = this.#bytesAtCut;
      this.through = board.of(member, "cut");
      this.latest = { through: this.through, digest: board.cutDigest, bytes: board.get("cutBytes") };
      host.checkpointed(this.latest, this.through);
    }
    const failed = board.get("fetchesFailed");
    if (failed !== this.#fetchesFailed) {
      this.#fetchesFailed = failed;
      const from = this.#wanted;
      this.#wanted = 0;
      if (from !== 0) host.fetchFailed(from);
    }
  }

  fetch(from: ReplicaId): void {
    const { board } = this;
    const { member, bells } = this.init;
    this.#wanted = from;
    board.setOf(member, "wantedFrom", from);
    board.setOf(member, "wants", board.of(member, "wants") + 1);
    bells.ring(1);
    this.init.host.requestTurn();
  }

  onFrame(_from: ReplicaId, _kind: number, _bytes: Uint8Array, _view: DataView, _start: number, _end: number): boolean {
    return false;
  }

  onPeerGone(_peer: ReplicaId): void {}

  onTick(): void {
    this.init.bells.ring(1);
  }

  queues(_visit: QueueVisitor): void {}

  close(): void {}

  /** Member 0 has the client that waits for a backup, and member 1 takes the cut for it. */
  #tellBackup(wanted: Instance): void {
    if (this.board.get("backupWanted") === wanted) return;
    this.board.set("backupWanted", wanted);
    this.init.bells.ring(1);
  }

  /** Restores the cut of g_all through `through`, if there is one. */
  protected restoreCut(through: Instance, done: (error: Error | null, through: Instance) => void): void {
    const { parts, platform, member } = this.init;
    if (through === 0) {
      this.init.restored(0);
      return done(null, 0);
    }
    const sink = new CutSink(parts.groups, (section) => this.init.section(section));
    restoreCheckpoint(platform.checkpoints, through, sink, (error) => {
      if (error !== null) return done(error, 0);
      this.through = sink.positions[member] as Instance;
      this.latest = { through: this.through, digest: this.board.cutDigest, bytes: this.board.get("cutBytes") };
      this.init.restored(through);
      done(null, this.through);
    });
  }
}

/** The state of a member that is told which cut to restore. */
export class FollowingState extends MemberState {
  readonly #checkpointThrough: Instance;

  constructor(init: MemberStateInit, checkpointThrough: Instance) {
    super(init);
    this.#checkpointThrough = checkpointThrough;
  }

  recover(done: (error: Error | null, through: Instance) => void): void {
    this.restoreCut(this.#checkpointThrough, done);
  }
}

/** Takes the places of a thread in the merge from a cut. `restore` gives the offset behind them, or -1. */
export class PlacesSink implements SnapshotSink {
  readonly #input = new ByteQueue();
  readonly #restore: (view: DataView, at: number, end: number) => number;

  constructor(restore: (view: DataView, at: number, end: number) => number) {
    this.#restore = restore;
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    this.#input.push(bytes, start, end);
    if (this.#input.size > PLACES_BYTES_MAX) throw damaged();
  }

  finish(): void {
    const { view, at, size } = this.#input;
    if (this.#restore(view, at, at + size) !== at + size) throw damaged();
  }
}

/** Restores things that were saved one behind the other. */
export function restoreInTurn(
  view: DataView,
  at: number,
  end: number,
  parts: readonly { restore(view: DataView, at: number, end: number): number }[],
): number {
  let offset = at;
  for (const part of parts) {
    offset = part.restore(view, offset, end);
    if (offset < 0) return -1;
  }
  return offset;
}

function damaged(): CheckpointDamagedError {
  return new CheckpointDamagedError("the places of a thread in the checkpoint are damaged");
}

export type WritePlaces = (writer: ByteWriter) => void;
