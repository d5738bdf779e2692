/**
 * Messages and log records of Multi-Paxos, and how they become bytes.
 *
 * Election     candidate ── preVote ──▶ all ── preVoteReply ──▶ candidate            (not a safety mechanism)
 * Phase 1      candidate ── prepare(ballot, from) ──▶ all ══ promise chunks ══▶ candidate
 * Phase 2      coordinator ── accept(ballot, instance, batch) ──▶ all ══ accepted ══▶ coordinator
 * Decision     carried as `decided` by the next accept, or by a heartbeat after `commitDelayMs`
 * Reads        a heartbeat or accept carries `confirm`; acceptors echo it in `confirmed` (quorum read without clocks)
 * Catch-up     any ── catchUp(from, through) ──▶ any ── chosen… | catchUpRefuse(trimmed) ──▶
 * Rejoin       non-voter ── incarnationQuery ──▶ voters ── incarnationReply ──▶
 *              non-voter ── rejoinRequest(incarnation) ──▶ voters ══ rejoinReply ══▶      (DESIGN safety rule 1)
 * Handover     coordinator ── handover ──▶ a peer, which starts phase 1 at once
 *
 * Double lines are held messages: they state something that must be durable at their sender first.
 *
 * Sources: Lamport, "Paxos Made Simple", section 3; "Paxos Made Live" (rejoin as a non-voter, epoch checks); PROTOCOLS
 * sections 5.1 and 5.3.
 */
import { assert, unreachable, type ByteWriter } from "../../base/index.js";
import {
  type Ballot,
  type Batch,
  type BatchArena,
  checkBatch,
  type Instance,
  type ProtocolCodec,
  type Span,
} from "../../model/index.js";
import { CHOSEN_BALLOT } from "../instance-log/index.js";

/** A value accepted or chosen, as it travels. The span is a complete batch. */
export interface Accepting {
  readonly instance: Instance;
  readonly ballot: Ballot;
  readonly batch: Span;
}

export interface PreVote {
  readonly kind: "preVote";
  readonly ballot: Ballot;
  readonly decided: Instance;
}
export interface PreVoteReply {
  readonly kind: "preVoteReply";
  readonly ballot: Ballot;
  readonly granted: boolean;
  /** Highest ballot the voter has promised, so that the candidate's next ballot is above it. */
  readonly promised: Ballot;
}
export interface Prepare {
  readonly kind: "prepare";
  readonly ballot: Ballot;
  /** Phase 1 covers every instance from here on. */
  readonly from: Instance;
}
/** A message of a lower ballot than the sender has promised. */
export interface Refuse {
  readonly kind: "refuse";
  readonly promised: Ballot;
}
export interface Accept {
  readonly kind: "accept";
  readonly ballot: Ballot;
  readonly instance: Instance;
  readonly decided: Instance;
  readonly trim: Instance;
  readonly confirm: number;
  readonly batch: Span;
}
export interface Heartbeat {
  readonly kind: "heartbeat";
  readonly ballot: Ballot;
  readonly decided: Instance;
  readonly trim: Instance;
  readonly confirm: number;
}
/** Echo of a heartbeat or accept: the sender had promised no higher ballot when it answered. */
export interface Confirmed {
  readonly kind: "confirmed";
  readonly ballot: Ballot;
  readonly confirm: number;
  readonly executed: Instance;
  readonly checkpointed: Instance;
  /** As in `accepted`. */
  readonly aside: number;
}
export interface CatchUp {
  readonly kind: "catchUp";
  readonly from: Instance;
  readonly through: Instance;
}
export interface Chosen {
  readonly kind: "chosen";
  readonly instance: Instance;
  /** True for the last one of an answer. */
  readonly last: boolean;
  readonly decided: Instance;
  readonly batch: Span;
}
/** The sender can't serve a catch-up: it holds nothing at `from`. */
export interface CatchUpRefuse {
  readonly kind: "catchUpRefuse";
  readonly trimmed: Instance;
  readonly decided: Instance;
  /** A checkpoint through here can be fetched from the sender; 0: none. */
  readonly checkpoint: Instance;
}
export interface IncarnationQuery {
  readonly kind: "incarnationQuery";
  readonly nonce: number;
}
export interface IncarnationReply {
  readonly kind: "incarnationReply";
  readonly nonce: number;
  readonly incarnation: number;
}
export interface RejoinRequest {
  readonly kind: "rejoinRequest";
  readonly nonce: number;
  readonly incarnation: number;
}
export interface Handover {
  readonly kind: "handover";
  readonly ballot: Ballot;
}

export type MultiPaxosFree =
  | PreVote
  | PreVoteReply
  | Prepare
  | Refuse
  | Accept
  | Heartbeat
  | Confirmed
  | CatchUp
  | Chosen
  | CatchUpRefuse
  | IncarnationQuery
  | IncarnationReply
  | RejoinRequest
  | Handover;

export interface Promise1b {
  readonly kind: "promise";
  readonly ballot: Ballot;
  /** 0, 1, 2, …; the last chunk says so. */
  readonly chunk: number;
  readonly last: boolean;
  /** The sender has delivered through here: it holds these values, or a checkpoint instead of them. */
  readonly decided: Instance;
  readonly trimmed: Instance;
  /** The sender's wall clock in ms since the epoch. */
  readonly wallMs: number;
  /** Incarnations the sender has stored, by replica id - 1. */
  readonly incarnations: readonly number[];
  /** Accepted values above `decided`. */
  readonly entries: readonly Accepting[];
}
export interface Accepted {
  readonly kind: "accepted";
  readonly ballot: Ballot;
  readonly instance: Instance;
  readonly executed: Instance;
  readonly checkpointed: Instance;
  readonly aside: number;
  readonly incarnations: readonly number[];
}
export interface RejoinReply {
  readonly kind: "rejoinReply";
  readonly nonce: number;
  readonly promised: Ballot;
  /** Highest instance accepted (synced or not), opened, decided or trimmed. */
  readonly highest: Instance;
  /** Incarnations the sender has stored, by replica id - 1: what the rejoining replica knew of others it has lost as well. */
  readonly incarnations: readonly number[];
}

export type MultiPaxosHeld = Promise1b | Accepted | RejoinReply;
export type MultiPaxosMessage = MultiPaxosFree | MultiPaxosHeld;

export type MultiPaxosRecord =
  | { readonly kind: "promised"; readonly ballot: Ballot }
  /** An accepted value; `decided` is the sender's decided prefix when it was written, a lazily kept hint. */
  | {
      readonly kind: "accepted";
      readonly instance: Instance;
      readonly ballot: Ballot;
      readonly decided: Instance;
      readonly batch: Span;
    }
  /** State at the head of a segment. */
  | { readonly kind: "position"; readonly decided: Instance; readonly trimmed: Instance }
  | { readonly kind: "incarnation"; readonly replica: number; readonly incarnation: number }
  | {
      readonly kind: "rejoined";
      readonly nonce: number;
      readonly incarnation: number;
      readonly floorBallot: Ballot;
      readonly floorInstance: Instance;
      readonly decided: Instance;
    }
  /** Values accepted at or below were lost with damaged records: the log can't say what this replica voted for there. */
  | { readonly kind: "forgotten"; readonly through: Instance }
  /**
   * Never written: it stands where a damaged log has a hole, which may have held any number of accepted values at or below
   * `through`, and nothing else.
   */
  | { readonly kind: "lost"; readonly through: Instance };

const kinds = [
  "preVote",
  "preVoteReply",
  "prepare",
  "refuse",
  "accept",
  "heartbeat",
  "confirmed",
  "catchUp",
  "chosen",
  "catchUpRefuse",
  "incarnationQuery",
  "incarnationReply",
  "rejoinRequest",
  "handover",
  "promise",
  "accepted",
  "rejoinReply",
] as const satisfies readonly MultiPaxosMessage["kind"][];

const kindNumbers = new Map<string, number>(kinds.map((kind, index) => [kind, index + 1]));

/** Most replicas of a group: ids fit in a 31-bit mask. */
const MEMBERS_MAX = 31;

function writeIncarnations(writer: ByteWriter, incarnations: readonly number[]): void {
  writer.u32(incarnations.length);
  for (const incarnation of incarnations) writer.u32(incarnation);
}

/** A cursor over one message body; `ok` turns false at the first read beyond its end. */
class Reader {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;
  ok = true;

  constructor(bytes: Uint8Array, view: DataView, start: number, end: number) {
    this.bytes = bytes;
    this.view = view;
    this.at = start;
    this.end = end;
  }

  u8(): number {
    if (this.end - this.at < 1) return this.#fail();
    return this.view.getUint8(this.at++);
  }

  u32(): number {
    if (this.end - this.at < 4) return this.#fail();
    const value = this.view.getUint32(this.at, true);
    this.at += 4;
    return value;
  }

  /** A whole number in [0, 2^53). */
  count(): number {
    if (this.end - this.at < 8) return this.#fail();
    const value = this.view.getFloat64(this.at, true);
    this.at += 8;
    if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER) || Math.floor(value) !== value) return this.#fail();
    return value;
  }

  flag(): boolean {
    const value = this.u8();
    if (value > 1) this.#fail();
    return value === 1;
  }

  incarnations(): readonly number[] {
    const count = this.u32();
    if (count > MEMBERS_MAX || this.end - this.at < count * 4) {
      this.#fail();
      return [];
    }
    const list: number[] = [];
    for (let i = 0; i < count; i++) list.push(this.u32());
    return list;
  }

  batch(): Span {
    const length = checkBatch(this.view, this.at, this.end);
    if (length < 0) {
      this.#fail();
      return { bytes: this.bytes, view: this.view, start: this.at, end: this.at };
    }
    const start = this.at;
    this.at += length;
    return { bytes: this.bytes, view: this.view, start, end: start + length };
  }

  #fail(): number {
    this.ok = false;
    this.at = this.end;
    return 0;
  }
}

function writeBatch(writer: ByteWriter, batch: Span): void {
  writer.copy(batch.bytes, batch.start, batch.end);
}

export const multiPaxosCodec: ProtocolCodec<MultiPaxosMessage, MultiPaxosRecord> = {
  kindOf: (message) => kindNumbers.get(message.kind) as number,

  encode(message, writer) {
    switch (message.kind) {
      case "preVote":
        writer.f64(message.ballot);
        writer.f64(message.decided);
        return;
      case "preVoteReply":
        writer.f64(message.ballot);
        writer.u8(message.granted ? 1 : 0);
        writer.f64(message.promised);
        return;
      case "prepare":
        writer.f64(message.ballot);
        writer.f64(message.from);
        return;
      case "refuse":
        writer.f64(message.promised);
        return;
      case "accept":
        writer.f64(message.ballot);
        writer.f64(message.instance);
        writer.f64(message.decided);
        writer.f64(message.trim);
        writer.f64(message.confirm);
        writeBatch(writer, message.batch);
        return;
      case "heartbeat":
        writer.f64(message.ballot);
        writer.f64(message.decided);
        writer.f64(message.trim);
        writer.f64(message.confirm);
        return;
      case "confirmed":
        writer.f64(message.ballot);
        writer.f64(message.confirm);
        writer.f64(message.executed);
        writer.f64(message.checkpointed);
        writer.f64(message.aside);
        return;
      case "catchUp":
        writer.f64(message.from);
        writer.f64(message.through);
        return;
      case "chosen":
        writer.f64(message.instance);
        writer.u8(message.last ? 1 : 0);
        writer.f64(message.decided);
        writeBatch(writer, message.batch);
        return;
      case "catchUpRefuse":
        writer.f64(message.trimmed);
        writer.f64(message.decided);
        writer.f64(message.checkpoint);
        return;
      case "incarnationQuery":
        writer.f64(message.nonce);
        return;
      case "incarnationReply":
      case "rejoinRequest":
        writer.f64(message.nonce);
        writer.u32(message.incarnation);
        return;
      case "handover":
        writer.f64(message.ballot);
        return;
      case "promise":
        writer.f64(message.ballot);
        writer.u32(message.chunk);
        writer.u8(message.last ? 1 : 0);
        writer.f64(message.decided);
        writer.f64(message.trimmed);
        writer.f64(Math.floor(message.wallMs));
        writeIncarnations(writer, message.incarnations);
        writer.u32(message.entries.length);
        for (const entry of message.entries) {
          writer.f64(entry.instance);
          writer.f64(entry.ballot);
          writeBatch(writer, entry.batch);
        }
        return;
      case "accepted":
        writer.f64(message.ballot);
        writer.f64(message.instance);
        writer.f64(message.executed);
        writer.f64(message.checkpointed);
        writer.f64(message.aside);
        writeIncarnations(writer, message.incarnations);
        return;
      case "rejoinReply":
        writer.f64(message.nonce);
        writer.f64(message.promised);
        writer.f64(message.highest);
        writeIncarnations(writer, message.incarnations);
        return;
      default:
        unreachable(message);
    }
  },

  decode(kindNumber, bytes, view, start, end) {
    const kind = kinds[kindNumber - 1];
    if (kind === undefined) return null;
    const reader = new Reader(bytes, view, start, end);
    const message = decodeBody(kind, reader);
    return reader.ok && reader.at === reader.end ? message : null;
  },

  encodeRecord(record, writer) {
    switch (record.kind) {
      case "promised":
        writer.u8(1);
        writer.f64(record.ballot);
        return;
      case "accepted":
        writer.u8(2);
        writer.f64(record.instance);
        writer.f64(record.ballot);
        writer.f64(record.decided);
        writeBatch(writer, record.batch);
        return;
      case "position":
        writer.u8(3);
        writer.f64(record.decided);
        writer.f64(record.trimmed);
        return;
      case "incarnation":
        writer.u8(4);
        writer.u32(record.replica);
        writer.u32(record.incarnation);
        return;
      case "rejoined":
        writer.u8(5);
        writer.f64(record.nonce);
        writer.u32(record.incarnation);
        writer.f64(record.floorBallot);
        writer.f64(record.floorInstance);
        writer.f64(record.decided);
        return;
      case "forgotten":
        writer.u8(6);
        writer.f64(record.through);
        return;
      case "lost":
        assert(false, "what a log lacks is not written to it");
        return;
      default:
        unreachable(record);
    }
  },

  decodeRecord(bytes, view, start, end, arena, above) {
    const reader = new Reader(bytes, view, start, end);
    const record = decodeRecordBody(reader, arena, above);
    return record !== null && reader.ok && reader.at === reader.end ? record : null;
  },

  forget(record, arena) {
    if (record.kind === "accepted") arena.release(record.batch as Batch);
  },

  recordInstance: (record) => (record.kind === "accepted" ? record.instance : 0),

  lost: (through) => ({ kind: "lost", through }),
};

function decodeBody(kind: MultiPaxosMessage["kind"], r: Reader): MultiPaxosMessage {
  switch (kind) {
    case "preVote":
      return { kind, ballot: r.count(), decided: r.count() };
    case "preVoteReply":
      return { kind, ballot: r.count(), granted: r.flag(), promised: r.count() };
    case "prepare":
      return { kind, ballot: r.count(), from: r.count() };
    case "refuse":
      return { kind, promised: r.count() };
    case "accept":
      return {
        kind,
        ballot: r.count(),
        instance: r.count(),
        decided: r.count(),
        trim: r.count(),
        confirm: r.count(),
        batch: r.batch(),
      };
    case "heartbeat":
      return { kind, ballot: r.count(), decided: r.count(), trim: r.count(), confirm: r.count() };
    case "confirmed":
      return {
        kind,
        ballot: r.count(),
        confirm: r.count(),
        executed: r.count(),
        checkpointed: r.count(),
        aside: r.count(),
      };
    case "catchUp":
      return { kind, from: r.count(), through: r.count() };
    case "chosen":
      return { kind, instance: r.count(), last: r.flag(), decided: r.count(), batch: r.batch() };
    case "catchUpRefuse":
      return { kind, trimmed: r.count(), decided: r.count(), checkpoint: r.count() };
    case "incarnationQuery":
      return { kind, nonce: r.count() };
    case "incarnationReply":
      return { kind, nonce: r.count(), incarnation: r.u32() };
    case "rejoinRequest":
      return { kind, nonce: r.count(), incarnation: r.u32() };
    case "handover":
      return { kind, ballot: r.count() };
    case "promise": {
      const head = {
        kind,
        ballot: r.count(),
        chunk: r.u32(),
        last: r.flag(),
        decided: r.count(),
        trimmed: r.count(),
        wallMs: r.count(),
        incarnations: r.incarnations(),
      };
      const count = r.u32();
      const entries: Accepting[] = [];
      for (let i = 0; i < count && r.ok; i++) {
        entries.push({ instance: r.count(), ballot: r.count(), batch: r.batch() });
      }
      return { ...head, entries };
    }
    case "accepted":
      return {
        kind,
        ballot: r.count(),
        instance: r.count(),
        executed: r.count(),
        checkpointed: r.count(),
        aside: r.count(),
        incarnations: r.incarnations(),
      };
    case "rejoinReply":
      return {
        kind,
        nonce: r.count(),
        promised: r.count(),
        highest: r.count(),
        incarnations: r.incarnations(),
      };
    default:
      return unreachable(kind);
  }
}

function decodeRecordBody(r: Reader, arena: BatchArena, above: Instance): MultiPaxosRecord | null {
  switch (r.u8()) {
    case 1:
      return { kind: "promised", ballot: r.count() };
    case 2: {
      const instance = r.count();
      const ballot = r.count();
      const decided = r.count();
      const span = r.batch();
      if (!r.ok || r.at !== r.end) return null;
      // A vote implies a promise of its ballot, which outlives the value.
      if (instance <= above) return { kind: "promised", ballot: ballot === CHOSEN_BALLOT ? 0 : ballot };
      const batch: Batch = arena.copy(span.bytes, span.view, span.start, span.end);
      return { kind: "accepted", instance, ballot, decided, batch };
    }
    case 3:
      return { kind: "position", decided: r.count(), trimmed: r.count() };
    case 4:
      return { kind: "incarnation", replica: r.u32(), incarnation: r.u32() };
    case 5:
      return {
        kind: "rejoined",
        nonce: r.count(),
        incarnation: r.u32(),
        floorBallot: r.count(),
        floorInstance: r.count(),
        decided: r.count(),
      };
    case 6:
      return { kind: "forgotten", through: r.count() };
    default:
      return null;
  }
}
