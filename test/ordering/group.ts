/**
 * A group of protocol cores in one thread for scenario tests: messages wait in a list until the test delivers them, disks
 * confirm when the test says so, time moves when the test moves it.
 */
import { strict as assert } from "node:assert";
import { ByteWriter } from "#src/base/index.js";
import {
  type Batch,
  BatchArena,
  beginBlock,
  BlockKind,
  endBlock,
  type HeldSend,
  type Instance,
  type Protocol,
  type ProtocolEvent,
  type ReplicaId,
} from "#src/model/index.js";
import {
  multiPaxos,
  type MultiPaxosConfig,
  type MultiPaxosFree,
  type MultiPaxosHeld,
  type MultiPaxosMessage,
  type MultiPaxosRecord,
} from "#src/ordering/multi-paxos/index.js";

type Event = ProtocolEvent<MultiPaxosMessage, MultiPaxosRecord>;

export interface Sent {
  readonly from: ReplicaId;
  readonly to: ReplicaId;
  readonly kind: MultiPaxosMessage["kind"];
  readonly body: Uint8Array;
}

interface Unsynced {
  readonly token: number;
  readonly record: Uint8Array;
  readonly held: readonly Sent[];
}

export class Member {
  readonly id: ReplicaId;
  readonly group: Group;
  arena = new BatchArena();
  protocol: Protocol<MultiPaxosFree, MultiPaxosHeld, MultiPaxosRecord>;
  alive = true;
  /** While true nothing is confirmed durable. */
  diskStalled = false;
  unsynced: Unsynced[] = [];
  /** A number stands where damaged records are known to have been of instances up to that one. */
  durable: (Uint8Array | number)[] = [];
  /** Decided values in order, as text; index 0 is instance `decidedFrom + 1`. */
  decided: string[] = [];
  readable: { ticket: number; after: Instance }[] = [];
  refused: (Batch | number)[] = [];
  fetches: { from: ReplicaId; through: Instance }[] = [];
  trimmed = 0;
  wake = Infinity;
  checkpoint = 0;
  /** Times that the protocol had the disk read back; while `unreadable` it finds nothing there. */
  recalls = 0;
  unreadable = false;
  /** While false, reads of the disk take for ever, until `answerRecalls`. */
  answersRecalls = true;
  #recalls: (() => void)[] = [];

  constructor(group: Group, id: ReplicaId) {
    this.group = group;
    this.id = id;
    this.protocol = this.#create();
  }

  #create(): Protocol<MultiPaxosFree, MultiPaxosHeld, MultiPaxosRecord> {
    this.arena = new BatchArena();
    const replicas = this.group.ids;
    return multiPaxos.create({ self: this.id, replicas, arena: this.arena, seed: this.id }, this.group.config);
  }

  start(amnesiaNonce = 0): void {
    const records: MultiPaxosRecord[] = [];
    for (const bytes of this.durable) {
      if (typeof bytes === "number") {
        records.push({ kind: "lost", through: bytes });
        continue;
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const record = multiPaxos.codec.decodeRecord(bytes, view, 0, bytes.length, this.arena, this.checkpoint);
      assert(record !== null, "a record that was written is read back");
      records.push(record);
    }
    const { recallable } = this.group;
    const recovered = { records, checkpointThrough: this.checkpoint, amnesiaNonce, wallMs: 1000, recallable };
    this.step({ kind: "start", now: this.group.now, recovered });
    this.settle();
  }

  step(event: Event): void {
    if (!this.alive) return;
    this.protocol.step(event, {
      send: (to, message) => this.group.sent.push(this.#encode(to, message)),
      persist: (token, record, held: readonly HeldSend<MultiPaxosMessage>[]) => {
        const writer = new ByteWriter();
        multiPaxos.codec.encodeRecord(record, writer);
        this.unsynced.push({
          token,
          record: writer.toBytes(),
          held: held.map(({ to, message }) => this.#encode(to, message)),
        });
      },
      wakeAt: (time) => (this.wake = time),
      reveal: () => {},
      revoke: () => {},
      decide: (_instance, batch) => this.decided.push(textOf(batch)),
      readable: (ticket, after) => this.readable.push({ ticket, after }),
      refuse: (what) => this.refused.push(what),
      fetchState: (from, through) => this.fetches.push({ from, through }),
      trim: (through) => (this.trimmed = through),
      recall: (to, from, through) => {
        this.recalls++;
        this.#recalls.push(() => this.#answerRecall(to, from, through));
      },
      asideHeard: () => {},
      reply: () => {},
      trace: () => {},
    });
  }

  /** Batches of the log in memory. */
  get held(): number {
    return this.arena.batches;
  }

  #answerRecall(to: ReplicaId, from: Instance, through: Instance): void {
    const records: MultiPaxosRecord[] = [];
    for (const bytes of this.unreadable ? [] : this.durable) {
      if (typeof bytes === "number") continue;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const record = multiPaxos.codec.decodeRecord(bytes, view, 0, bytes.length, this.arena, from - 1);
      assert(record !== null, "a record that was written is read back");
      const instance = multiPaxos.codec.recordInstance(record);
      if (instance >= from && instance <= through) records.push(record);
      else multiPaxos.codec.forget(record, this.arena);
    }
    this.step({ kind: "recalled", now: this.group.now, to, records });
  }

  /** Gives the protocol what it had asked its disk for. */
  answerRecalls(): void {
    this.answersRecalls = true;
    for (const answer of this.#recalls.splice(0)) answer();
  }

  #encode(to: ReplicaId, message: MultiPaxosMessage): Sent {
    const writer = new ByteWriter();
    multiPaxos.codec.encode(message, writer);
    return { from: this.id, to, kind: message.kind, body: writer.toBytes() };
  }

  receive(sent: Sent): void {
    if (!this.alive) return;
    const view = new DataView(sent.body.buffer, sent.body.byteOffset, sent.body.byteLength);
    const number = multiPaxos.codec.kindOf({ kind: sent.kind } as MultiPaxosMessage);
    const message = multiPaxos.codec.decode(number, sent.body, view, 0, sent.body.length);
    assert(message !== null, `a ${sent.kind} that was encoded is decoded`);
    const span = { bytes: sent.body, view, start: 0, end: sent.body.length };
    this.step({ kind: "message", now: this.group.now, from: sent.from, message, span });
  }

  /** Ends the turn and confirms what the disk has, unless it is stalled. */
  settle(): void {
    if (!this.alive) return;
    this.step({ kind: "turn", now: this.group.now });
    if (!this.diskStalled) this.sync();
    if (this.answersRecalls) this.answerRecalls();
  }

  sync(): void {
    const batch = this.unsynced.splice(0);
    if (batch.length === 0) return;
    for (const { record, held } of batch) {
      this.durable.push(record);
      this.group.sent.push(...held);
    }
    this.step({ kind: "persisted", now: this.group.now, token: (batch.at(-1) as Unsynced).token });
    this.step({ kind: "turn", now: this.group.now });
  }

  propose(text: string): void {
    const writer = new ByteWriter();
    const at = beginBlock(writer, BlockKind.commands, 1, 1, 0);
    writer.u32(4 + text.length);
    writer.latin1(text);
    endBlock(writer, at, 1);
    const batch = this.arena.build(writer.bytes, 0, writer.length, 1, 1, 0);
    this.step({ kind: "propose", now: this.group.now, batch });
  }

  /** Proposes a batch without commands. */
  proposeEmpty(): void {
    this.step({ kind: "propose", now: this.group.now, batch: this.arena.empty(0) });
  }

  read(ticket: number): void {
    this.step({ kind: "read", now: this.group.now, ticket });
  }

  /** Writes what stands at the head of a new segment of its log. */
  prologue(): void {
    for (const record of this.protocol.prologue()) {
      const writer = new ByteWriter();
      multiPaxos.codec.encodeRecord(record, writer);
      this.durable.push(writer.toBytes());
    }
  }

  /** The process dies; what was not synced is lost. */
  crash(): void {
    this.alive = false;
    this.#recalls = [];
    this.unsynced = [];
    this.group.sent = this.group.sent.filter((sent) => sent.from !== this.id && sent.to !== this.id);
    for (const other of this.group.members) {
      if (other !== this) other.step({ kind: "link", now: this.group.now, peer: this.id, up: false, inFlightBytes: 0 });
    }
  }

  restart(amnesiaNonce = 0): void {
    this.alive = true;
    this.decided = [];
    this.protocol = this.#create();
    this.start(amnesiaNonce);
    this.group.connect(this);
  }
}

export class Group {
  readonly ids: ReplicaId[];
  readonly config: Partial<MultiPaxosConfig>;
  readonly members: Member[];
  now = 0;
  sent: Sent[] = [];
  /** Messages for which this returns false stay undelivered and are dropped by `run`. */
  passes: (sent: Sent) => boolean = () => true;

  /** Hosts read their disks back. */
  readonly recallable: boolean;

  constructor(size: number, config: Partial<MultiPaxosConfig> = {}, host: { readonly recallable?: boolean } = {}) {
    this.recallable = host.recallable ?? false;
    this.ids = Array.from({ length: size }, (_, index) => index + 1);
    this.config = config;
    this.members = this.ids.map((id) => new Member(this, id));
    for (const member of this.members) member.start();
    for (const member of this.members) this.connect(member);
  }

  member(id: ReplicaId): Member {
    return this.members[id - 1] as Member;
  }

  get leader(): Member {
    const leaders = this.members.filter((member) => member.alive && member.protocol.inspect().role === "leader");
    leaders.sort((a, b) => b.protocol.inspect().ballot - a.protocol.inspect().ballot);
    assert(leaders[0] !== undefined, "somebody leads");
    return leaders[0];
  }

  connect(member: Member): void {
    for (const other of this.members) {
      if (other === member || !other.alive) continue;
      other.step({ kind: "link", now: this.now, peer: member.id, up: true, inFlightBytes: 0 });
      member.step({ kind: "link", now: this.now, peer: other.id, up: true, inFlightBytes: 0 });
    }
  }

  /** Delivers everything there is to deliver, without moving time. */
  deliver(): void {
    for (const member of this.members) member.settle();
    while (this.sent.length > 0) {
      const batch = this.sent.splice(0);
      for (const sent of batch) if (this.passes(sent)) this.member(sent.to).receive(sent);
      for (const member of this.members) member.settle();
    }
  }

  /** Moves time by `ms`, delivering messages at once and ticks when they are due. */
  run(ms: number): void {
    const until = this.now + ms;
    this.deliver();
    while (this.now < until) {
      const next = Math.min(until, ...this.members.filter((m) => m.alive).map((m) => Math.max(m.wake, this.now + 1)));
      this.now = next;
      for (const member of this.members) {
        if (member.alive && member.wake <= this.now) {
          member.step({ kind: "tick", now: this.now });
          member.settle();
        }
      }
      this.deliver();
    }
  }
}

/** The text of a batch made by `propose`, or "" for an empty one. */
export function textOf(batch: Batch): string {
  if (batch.blocks === 0) return "";
  let text = "";
  for (let i = batch.start + 24 + 40 + 4; i < batch.end; i++) text += String.fromCharCode(batch.bytes[i] as number);
  return text;
}
