import { assert, unreachable } from "../../base/index.js";
import {
  type Ballot,
  ballotProposer,
  type Batch,
  type Instance,
  type Protocol,
  type ProtocolEvent,
  type ProtocolInit,
  type ProtocolView,
  type Recovered,
  type ReplicaId,
  type Role,
} from "../../model/index.js";
import { CHOSEN_BALLOT } from "../instance-log/index.js";
import { Acceptor } from "./acceptor.js";
import { type MultiPaxosConfig, multiPaxosConfig } from "./config.js";
import { Coordinator } from "./coordinator.js";
import { Core, type Sink } from "./core.js";
import { Election } from "./election.js";
import { Learner } from "./learner.js";
import type { MultiPaxosFree, MultiPaxosHeld, MultiPaxosMessage, MultiPaxosRecord } from "./message.js";
import { Rejoin } from "./rejoin.js";

type Event = ProtocolEvent<MultiPaxosMessage, MultiPaxosRecord>;

interface View extends ProtocolView {
  role: Role;
  ballot: Ballot;
  leader: ReplicaId;
  decided: Instance;
  opened: Instance;
  trimmed: Instance;
  proposable: boolean;
  proposableEmpty: boolean;
  readable: boolean;
  logBytes: number;
  logMemoryBytes: number;
  logFill: number;
  timeOffsetMs: number;
}

/** A tick this much later than asked for means that the process was stopped or starved. */
const LATE_TICK_MS = 100;

/** One replica of a group ordered by Multi-Paxos: all roles in one pure machine. */
export class MultiPaxos implements Protocol<MultiPaxosFree, MultiPaxosHeld, MultiPaxosRecord> {
  readonly #core: Core;
  readonly #learner: Learner;
  readonly #coordinator: Coordinator;
  readonly #acceptor: Acceptor;
  readonly #election: Election;
  readonly #rejoin: Rejoin;
  readonly #view: View;
  #started = false;
  #wake = Infinity;
  /** A coordinator's message of this turn wants an echo: its confirm number. */
  #echoTo: ReplicaId = 0;
  #echo = 0;
  #echoBallot: Ballot = 0;
  /** Confirm number last echoed, and in which ballot. */
  #echoed = -1;

  constructor(init: ProtocolInit, config: Partial<MultiPaxosConfig> = {}) {
    this.#core = new Core(init, multiPaxosConfig(config));
    this.#learner = new Learner(this.#core);
    this.#coordinator = new Coordinator(this.#core, this.#learner);
    this.#acceptor = new Acceptor(this.#core);
    this.#election = new Election(this.#core, this.#coordinator);
    this.#rejoin = new Rejoin(this.#core);
    this.#view = {
      role: "recovering",
      ballot: 0,
      leader: 0,
      decided: 0,
      opened: 0,
      trimmed: 0,
      proposable: false,
      proposableEmpty: false,
      readable: false,
      logBytes: 0,
      logMemoryBytes: 0,
      logFill: 0,
      timeOffsetMs: 0,
    };
  }

  inspect(): ProtocolView {
    return this.#view;
  }

  prologue(): readonly MultiPaxosRecord[] {
    const core = this.#core;
    const records: MultiPaxosRecord[] = [
      { kind: "promised", ballot: core.promised },
      { kind: "position", decided: core.decided, trimmed: core.log.trimmed },
    ];
    if (core.forgottenThrough > core.log.trimmed) records.push({ kind: "forgotten", through: core.forgottenThrough });
    core.incarnations.forEach((incarnation, index) => {
      if (incarnation > 1) records.push({ kind: "incarnation", replica: index + 1, incarnation });
    });
    if (this.#rejoin.storing !== null) records.push(this.#rejoin.storing);
    else if (core.rejoinedNonce !== 0) {
      records.push({
        kind: "rejoined",
        nonce: core.rejoinedNonce,
        incarnation: core.incarnations[core.self - 1] ?? 1,
        floorBallot: core.floorBallot,
        floorInstance: core.floorInstance,
        decided: core.decided,
      });
    }
    return records;
  }

  step(event: Event, out: Sink): void {
    const core = this.#core;
    core.out = out;
    core.now = event.now;
    assert(this.#started !== (event.kind === "start"), `event ${event.kind} out of place`);
    this.#dispatch(event);
    if (this.#rejoin.active) this.#rejoin.settle();
    else if (!core.regained) this.#rejoin.regain();
    this.#coordinator.settle();
    if (event.kind === "turn" || event.kind === "tick" || event.kind === "start") this.#rest();
    this.#look();
  }

  #dispatch(event: Event): void {
    const core = this.#core;
    switch (event.kind) {
      case "start":
        this.#start(event.recovered);
        return;
      case "message":
        this.#onMessage(event.from, event.message);
        return;
      case "propose":
        if (this.#coordinator.takes(event.batch)) this.#coordinator.propose(event.batch);
        else core.out.refuse(event.batch, this.#coordinator.leading ? "busy" : "not-leader", core.leader);
        return;
      case "read":
        this.#coordinator.onRead(event.ticket);
        return;
      case "persisted":
        core.onPersisted(event.token);
        return;
      case "tick":
        if (event.now - this.#wake > LATE_TICK_MS) this.#election.postpone();
        this.#wake = Infinity;
        this.#election.onTick();
        this.#coordinator.onTick();
        this.#rejoin.onTick();
        return;
      case "turn":
        core.log.sweep();
        core.evict();
        this.#coordinator.onTurn(event.hasten === true);
        this.#sendEcho();
        return;
      case "executed":
        if (event.speculative) return;
        if (event.through > core.executed) core.executed = event.through;
        this.#coordinator.onExecuted();
        return;
      case "checkpointed":
        core.boundLog(event.logBytesMax);
        if (event.through > core.checkpointed) core.checkpointed = event.through;
        this.#coordinator.onCheckpointed();
        this.#learner.trim();
        return;
      case "installed":
        core.boundLog(event.logBytesMax);
        this.#coordinator.onInstalled(event.through);
        this.#learner.onInstalled(event.through);
        // What was installed counts like an own checkpoint: a follower with a full log may wait for this trim point.
        this.#coordinator.onExecuted();
        this.#coordinator.onCheckpointed();
        this.#learner.trim();
        return;
      case "fetchFailed":
        this.#learner.onFetchFailed();
        return;
      case "recalled": {
        const peer = core.peerOf.get(event.to);
        assert(peer !== undefined && peer.recallFrom !== 0, "records are recalled for a peer that waits for them");
        this.#learner.onRecalled(peer, event.records);
        return;
      }
      case "aside":
        core.aside = event.value;
        return;
      case "known":
        if (event.through > core.known) core.known = event.through;
        return;
      case "link": {
        const peer = core.peerOf.get(event.peer);
        if (peer === undefined) return;
        const changed = peer.up !== event.up;
        peer.up = event.up;
        peer.inFlightBytes = event.inFlightBytes;
        if (!changed) return;
        this.#election.onLink(peer, event.up);
        this.#coordinator.onLink(peer, event.up);
        if (!event.up) this.#learner.onPeerGone(peer.id);
        return;
      }
      case "transferLeadership":
        this.#coordinator.transfer(event.to);
        return;
      default:
        unreachable(event);
    }
  }

  #start(recovered: Recovered<MultiPaxosRecord>): void {
    const core = this.#core;
    this.#started = true;
    core.boundLog(recovered.logBytesMax);
    core.recallable = recovered.recallable === true;
    core.wallBaseMs = recovered.wallMs;
    core.wallBaseAt = core.now;
    core.log.trim(recovered.checkpointThrough);
    core.decided = recovered.checkpointThrough;
    core.known = recovered.checkpointThrough;
    core.executed = recovered.checkpointThrough;
    core.checkpointed = recovered.checkpointThrough;
    let hint = 0;
    let trimmed = 0;
    let forgotten = 0;
    for (const record of recovered.records) {
      switch (record.kind) {
        case "promised":
          if (record.ballot > core.promised) core.promised = record.ballot;
          break;
        case "accepted":
          if (record.ballot !== CHOSEN_BALLOT && record.ballot > core.promised) core.promised = record.ballot;
          if (record.decided > hint) hint = record.decided;
          if (record.instance > core.log.trimmed) core.log.put(record.instance, record.ballot, record.batch as Batch);
          else core.arena.release(record.batch as Batch);
          break;
        case "position":
          if (record.decided > hint) hint = record.decided;
          if (record.trimmed > trimmed) trimmed = record.trimmed;
          break;
        case "incarnation":
          this.#recoverIncarnation(record.replica, record.incarnation);
          break;
        case "rejoined":
          if (record.decided > hint) hint = record.decided;
          core.rejoinedNonce = record.nonce;
          core.floorBallot = record.floorBallot;
          core.floorInstance = record.floorInstance;
          if (record.floorBallot > core.promised) core.promised = record.floorBallot;
          this.#recoverIncarnation(core.self, record.incarnation);
          break;
        case "forgotten":
          if (record.through > forgotten) forgotten = record.through;
          break;
        case "lost":
          if (record.through > forgotten) forgotten = record.through;
          this.#doubt(hint, record.through);
          break;
        default:
          unreachable(record);
      }
    }
    this.#election.see(core.promised);
    // Everything through the hint was decided, and what this log holds there is what was decided: each value was either
    // accepted in the deciding ballot or later, or was written as chosen before the hint. That holds only above what was
    // installed or trimmed: if the checkpoint that covered it is gone, state has to come from a peer. What is missing was
    // lost with damaged records; behind it values wait until a peer has given the ones in front.
    core.known = Math.max(core.known, hint, trimmed);
    core.forgottenThrough = Math.max(trimmed, forgotten);
    if (core.decided >= trimmed) {
      for (let next = core.decided + 1; next <= hint; next++) {
        const entry = core.log.get(next);
        if (entry === undefined) continue;
        if (next === core.decided + 1) core.deliver(next, entry);
        else entry.ballot = CHOSEN_BALLOT;
      }
    }
    core.regained = Math.max(core.decided, core.log.trimmed) >= core.forgottenThrough;
    this.#coordinator.next = core.log.highest + 1;
    if (recovered.amnesiaNonce !== 0 && recovered.amnesiaNonce !== core.rejoinedNonce) {
      this.#rejoin.start(recovered.amnesiaNonce);
    }
    this.#election.start();
  }

  /**
   * Drops the values that a lost one may have replaced. What was decided when the hint was written stands in the records in
   * front of it, whatever was lost behind; above it, a value that is not known to be chosen may have been accepted anew in a
   * later ballot, and that is the one which counts.
   */
  #doubt(hint: Instance, through: Instance): void {
    const { log } = this.#core;
    for (let instance = Math.max(hint, log.trimmed) + 1; instance <= Math.min(through, log.highest); instance++) {
      if (log.get(instance)?.ballot !== CHOSEN_BALLOT) log.forget(instance);
    }
  }

  #recoverIncarnation(replica: ReplicaId, incarnation: number): void {
    const core = this.#core;
    if ((core.incarnations[replica - 1] ?? Infinity) < incarnation) core.incarnations[replica - 1] = incarnation;
  }

  #onMessage(from: ReplicaId, message: MultiPaxosMessage): void {
    const core = this.#core;
    const peer = core.peerOf.get(from);
    if (peer === undefined) return;
    peer.heardAt = core.now;
    switch (message.kind) {
      case "accept":
        if (this.#current(from, message.ballot, message.confirm)) {
          this.#acceptor.onAccept(from, message);
          this.#hear(message.ballot, message.decided, message.trim);
        }
        return;
      case "accepted":
        this.#coordinator.onAccepted(peer, message);
        return;
      case "heartbeat":
        if (this.#current(from, message.ballot, message.confirm)) {
          // A bare heartbeat always wants an answer: it is how the coordinator knows that it still has a quorum.
          this.#echoTo = from;
          this.#hear(message.ballot, message.decided, message.trim);
        }
        return;
      case "confirmed":
        this.#coordinator.onConfirmed(peer, message);
        return;
      case "preVote":
        this.#election.onPreVote(from, message);
        return;
      case "preVoteReply":
        this.#election.onPreVoteReply(from, message);
        return;
      case "prepare":
        this.#election.see(message.ballot);
        if (message.ballot > core.promised && core.voter) this.#coordinator.stepDown();
        if (this.#acceptor.onPrepare(from, message)) this.#election.promised();
        return;
      case "promise":
        // A promise in many parts takes its time: an attempt that gets on is not given up for another one.
        if (this.#coordinator.onPromise(from, message)) this.#election.progressed();
        return;
      case "refuse":
        this.#election.see(message.promised);
        if (message.promised > this.#coordinator.ballot) this.#coordinator.stepDown();
        return;
      case "catchUp":
        if (message.through > core.log.highest && this.#coordinator.leading) this.#coordinator.proposeEmpty();
        this.#learner.onCatchUp(peer, message);
        return;
      case "chosen":
        this.#coordinator.onChosen(message.instance, message.batch);
        this.#learner.onChosen(from, message);
        this.#coordinator.recount();
        return;
      case "catchUpRefuse":
        this.#learner.onCatchUpRefuse(from, message);
        return;
      case "incarnationQuery":
        if (!core.voter) return;
        core.out.send(from, {
          kind: "incarnationReply",
          nonce: message.nonce,
          incarnation: core.incarnations[from - 1] ?? 1,
        });
        return;
      case "incarnationReply":
        this.#rejoin.onIncarnationReply(from, message);
        return;
      case "rejoinRequest":
        this.#acceptor.onRejoinRequest(from, message);
        this.#coordinator.dropVotes(from);
        return;
      case "rejoinReply":
        this.#rejoin.onRejoinReply(from, message);
        return;
      case "handover":
        if (message.ballot === core.promised && from === core.leader && core.mayPromise) this.#election.prepare();
        return;
      default:
        unreachable(message);
    }
  }

  /** Is this the message of a coordinator whose ballot is current? Then it is followed. */
  #current(from: ReplicaId, ballot: Ballot, confirm: number): boolean {
    const core = this.#core;
    if (ballotProposer(ballot) !== from) return false;
    this.#election.see(ballot);
    if (ballot < core.promised) {
      core.out.send(from, { kind: "refuse", promised: core.promised });
      return false;
    }
    if (this.#coordinator.phase !== "idle") this.#coordinator.stepDown();
    core.follow(ballot);
    this.#election.heard();
    if (ballot !== this.#echoBallot || confirm > this.#echoed) this.#echoTo = from;
    if (ballot !== this.#echoBallot) this.#echoed = -1;
    this.#echoBallot = ballot;
    this.#echo = confirm;
    return true;
  }

  #hear(ballot: Ballot, decided: Instance, trim: Instance): void {
    const core = this.#core;
    if (trim > core.trimAnnounced) core.trimAnnounced = trim;
    this.#learner.hear(ballot, decided);
    this.#learner.trim();
  }

  /**
   * Answers the coordinator's newest confirm number, if it still is one: nothing need be durable, since the answer only
   * says that this replica has promised no higher ballot by now.
   */
  #sendEcho(): void {
    const core = this.#core;
    const to = this.#echoTo;
    if (to === 0) return;
    this.#echoTo = 0;
    if (core.promised !== this.#echoBallot || core.leader !== to || !core.voter) return;
    this.#echoed = this.#echo;
    core.out.send(to, {
      kind: "confirmed",
      ballot: this.#echoBallot,
      confirm: this.#echo,
      executed: core.executed,
      checkpointed: core.checkpointed,
      aside: core.aside,
    });
  }

  /** What is put off to the end of a turn. */
  #rest(): void {
    const core = this.#core;
    this.#learner.pursue();
    const wake = Math.min(
      this.#election.wakeAt(),
      this.#coordinator.wakeAt(),
      this.#rejoin.wakeAt(),
      this.#learner.wakeAt(),
    );
    this.#wake = wake;
    core.out.wakeAt(wake);
  }

  #look(): void {
    const core = this.#core;
    const view = this.#view;
    const coordinator = this.#coordinator;
    // Also while the state is missing that covers what this log no longer holds: such a voter gives no promise.
    if (!core.mayPromise) view.role = "recovering";
    else if (coordinator.leading) view.role = "leader";
    else view.role = this.#election.asking || coordinator.phase === "preparing" ? "candidate" : "follower";
    view.ballot = core.promised;
    view.leader = core.leader;
    view.decided = core.decided;
    view.opened = core.log.highest;
    view.trimmed = core.log.trimmed;
    view.proposable = coordinator.proposable;
    view.proposableEmpty = coordinator.proposableEmpty;
    view.readable = coordinator.readable;
    view.logBytes = core.logBytes;
    view.logMemoryBytes = core.arena.bytesHeld;
    view.logFill = core.logFill;
    view.timeOffsetMs = coordinator.timeOffsetMs;
  }
}
