import { assert } from "../../base/index.js";
import type { Cut, ThreadModel } from "../../execution/index.js";
import type { Instance, ReplicaId, SharedServiceRoot } from "../../model/index.js";
import type { CheckpointInfo } from "../../platform/index.js";
import { digestHex } from "../replica/checkpointing.js";
import { StateTransfer } from "../replica/state-transfer.js";
import { CutWriter } from "./cut-writer.js";
import { MemberState, type MemberStateInit, type WritePlaces } from "./member-state.js";
import { MessageReceiver } from "./message-ring.js";

export interface CutStateInit extends MemberStateInit {
  readonly psmr: ThreadModel;
  readonly service: SharedServiceRoot;
  readonly places: WritePlaces;
  onRestart(reason: string): void;
}

/**
 * The state of member 1, whose thread is the first: it asks for cuts when the logs of the members have grown, writes them, and
 * fetches those of other replicas for all members. A fetched cut is never put in place of a state that runs: the replica starts
 * anew from it, as after a crash, so that there is one way for threads to begin, and not another for each of the places in which
 * they could be.
 */
export class CutState extends MemberState {
  readonly #init: CutStateInit;
  readonly #writer: CutWriter;
  readonly #transfer: StateTransfer;
  /** The newest durable cut, by the instance of g_all. */
  #cut: CheckpointInfo | null = null;
  #asked = false;
  #executedAtCut: Instance = 0;
  /** Per member: wants that were seen to. */
  readonly #served: number[] = [];
  #restarting = false;
  /** A cut was not written, whose parts the other threads wait to be rid of: only a new life can take another. */
  #dropped = false;
  /** Where a cut stood at the last tick. */
  #stoodAt = -1;
  #closed = false;

  constructor(init: CutStateInit) {
    super(init);
    this.#init = init;
    const { parts, platform, options, host, bells } = init;
    this.#writer = new CutWriter({
      groups: parts.groups,
      store: platform.checkpoints,
      sliceBytes: options.checkpointSliceBytes,
      parts: parts.cuts.map((memory) => new MessageReceiver(memory)),
      ring: (thread) => bells.ring(thread + 1),
      advanced: () => host.requestTurn(),
      done: (error, info, positions) => this.#onWritten(error, info, positions),
    });
    this.#transfer = new StateTransfer({
      peers: platform.peers,
      store: platform.checkpoints,
      latest: () => this.#cut,
      now: () => host.now(),
      done: (error, from, info) => this.#onFetched(error, from, info),
    });
    for (let member = 0; member <= parts.groups; member++) this.#served.push(0);
  }

  recover(done: (error: Error | null, through: Instance) => void): void {
    this.#init.platform.checkpoints.open((error, latest) => {
      if (error !== null) return done(error, 0);
      this.#cut = latest;
      if (latest !== null) this.#tellCut(latest);
      this.restoreCut(latest?.through ?? 0, done);
    });
  }

  /** The first thread begins a cut: called at its barrier. */
  onCut(cut: Cut): void {
    const { psmr, service, places } = this.#init;
    this.#asked = false;
    this.board.set("barrierWanted", 0);
    if (this.#restarting || !this.#transfer.abandon("this replica has come to a cut of its own")) {
      // The state that is being made durable is a newer one, from which all begin anew: this one is of no use.
      cut.part.close();
      cut.service?.close();
      this.#dropped = true;
      return;
    }
    const digest = new Uint32Array(4);
    service.digest(digest);
    const { executed } = psmr.inspect();
    this.#executedAtCut = cut.all;
    this.board.set("cutsTaken", this.board.get("cutsTaken") + 1);
    assert(cut.service !== null, "the first thread's cut has the service");
    this.#writer.begin(cut.all, executed, digestHex(digest), cut.part, cut.service, places);
  }

  /** Goes on with the cut that is being written. */
  pump(): void {
    if (!this.#restarting) this.#writer.pump();
  }

  override consider(): void {
    super.consider();
    if (this.#restarting) return;
    this.#writer.pump();
    const { parts, host } = this.#init;
    if (this.#writer.busy || this.#transfer.fetching) return;
    for (let member = 0; member <= parts.groups; member++) if (this.board.of(member, "running") === 0) return;
    for (let member = 0; member <= parts.groups; member++) {
      const wants = this.board.of(member, "wants");
      if (wants === this.#served[member]) continue;
      this.#served[member] = wants;
      return this.#fetchFrom(this.board.of(member, "wantedFrom"));
    }
    if (this.#asked || !this.#due()) return;
    this.#asked = true;
    this.#init.psmr.requestCut();
    this.board.set("barrierWanted", 1);
    this.#init.bells.ring(0);
    host.requestTurn();
  }

  override onFrame(
    from: ReplicaId,
    kind: number,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
  ): boolean {
    return this.#transfer.onFrame(from, kind, bytes, view, start, end);
  }

  override onPeerGone(peer: ReplicaId): void {
    this.#transfer.onPeerGone(peer);
  }

  override onTick(): void {
    this.#transfer.onTick();
    this.#giveUpCut();
  }

  override close(): void {
    this.#closed = true;
    this.#transfer.close();
    this.#writer.close();
  }

  /**
   * A cut stands still while one of the threads whose part it lacks waits at a barrier, and that may be for a thread whose group is
   * so far behind that it needs the state of a peer: then the cut is given up for that. Whatever becomes of the fetch, all
   * members begin anew, since other threads still send parts of the cut.
   */
  #giveUpCut(): void {
    const waitingAt = this.#writer.waitingAt;
    const stands = waitingAt >= 0 && waitingAt === this.#stoodAt && !this.#transfer.fetching && !this.#restarting;
    this.#stoodAt = waitingAt;
    if (!stands) return;
    const { parts } = this.#init;
    for (let member = 0; member <= parts.groups; member++) {
      if (this.board.of(member, "wants") === this.#served[member]) continue;
      this.#writer.close();
      this.#dropped = true;
      this.#init.host.requestTurn();
      return;
    }
  }

  /** What all members say of the newest durable cut. */
  #tellCut({ digest, bytes }: CheckpointInfo): void {
    this.board.setCutDigest(digest);
    this.board.set("cutBytes", bytes);
  }

  #due(): boolean {
    const { parts, options, psmr } = this.#init;
    if (this.board.get("backupWanted") > (this.#cut?.through ?? 0)) return true;
    let bytes = 0;
    let pressed = false;
    for (let member = 0; member <= parts.groups; member++) {
      bytes += this.board.of(member, "bytes");
      if (this.board.of(member, "pressed") === 1) pressed = true;
    }
    const { executed, executedAll } = psmr.inspect();
    if (executedAll + executed === 0 || this.#transfer.serving) return pressed && bytes > 0;
    const most = options.logBytesMax / 3;
    const enough = pressed
      ? options.logBytesMax / 16
      : Math.max(options.checkpointBytes, Math.min(this.#cut?.bytes ?? 0, most));
    return bytes >= enough || executedAll - this.#executedAtCut >= options.checkpointInstances;
  }

  #fetchFrom(from: ReplicaId): void {
    const { events, peers } = this.#init.platform;
    events.info("fetching state", { from, through: this.#cut?.through ?? 0 });
    this.#transfer.fetch(from, (this.#cut?.through ?? 0) + 1);
    peers.flush();
  }

  #onWritten(error: Error | null, info: CheckpointInfo | null, positions: readonly Instance[]): void {
    if (this.#closed) return;
    if (error !== null || info === null) {
      return this.#init.host.fatal(error ?? new TypeError("a checkpoint was written without a word about it"));
    }
    this.#cut = info;
    const { board } = this;
    for (const [member, position] of positions.entries()) board.setOf(member, "cut", position);
    this.#tellCut(info);
    board.set("cutsDurable", board.get("cutsDurable") + 1);
    for (let member = 0; member < positions.length; member++) if (member !== 1) this.#init.bells.ring(member);
    this.#init.host.requestTurn();
  }

  #onFetched(error: Error | null, from: ReplicaId, info: CheckpointInfo | null): void {
    if (this.#closed || this.#restarting) return;
    const { events } = this.#init.platform;
    if (error !== null || info === null) {
      events.warn("state transfer failed", { from, error: error?.message ?? "" });
      if (this.#dropped) return this.#restart("a fetched state could not be made durable");
      this.board.set("fetchesFailed", this.board.get("fetchesFailed") + 1);
      for (let member = 0; member <= this.#init.parts.groups; member++) if (member !== 1) this.#init.bells.ring(member);
      return this.#init.host.requestTurn();
    }
    events.info("state fetched", { from, through: info.through, bytes: info.bytes });
    this.#restart(`a state of replica ${from} through instance ${info.through} of g_all was fetched`);
  }

  #restart(reason: string): void {
    this.#restarting = true;
    this.#init.onRestart(reason);
  }
}
