import { ByteSlab, hashBytes, latin1, MiB } from "../../base/index.js";
import {
  BATCH_BLOCKS_MAX,
  BATCH_HEADER_BYTES,
  batchTime,
  BLOCK_HEADER_BYTES,
  blockCommands,
  blockLength,
  blockSequence,
  blockSession,
  type Instance,
  type Position,
  positionOf,
  REPLY_HEADER_BYTES,
  replyCount,
  replySequence,
  replySession,
  type ReplicaId,
  type SessionId,
  type Span,
} from "../../model/index.js";
import { describeReply, lacksRoom, type ReferenceModel, replyAt, sameReply } from "./reference.js";

/**
 * - `witness`: a reply is what a reference model gives that executes the same commands in the decided order.
 * - `real-time`: an operation takes its place in the decided order behind all that were answered before it was sent.
 * - `stale-read`: a read sees everything that was answered before it was sent.
 * - `connection-order`: the operations of a connection take their places in the order in which they were sent.
 * - `durability`: what was answered was executed.
 */
export type WitnessInvariant = "witness" | "real-time" | "stale-read" | "connection-order" | "durability";

export interface WitnessViolation {
  readonly invariant: WitnessInvariant;
  readonly message: string;
}

export interface WitnessOptions {
  /**
   * How far the reference model stays behind the furthest replica, in instances and in bytes: reads that a slower replica
   * answers from an older state can be judged as long as the model has not gone past it.
   */
  readonly lagInstancesMax?: number;
  readonly lagBytesMax?: number;
  /** Reads that wait for the model. One more, and the model goes as far as it can. */
  readonly waitingReadsMax?: number;
  /** Blocks and reads that were executed and whose answer no client has told of. The oldest are forgotten. */
  readonly unansweredMax?: number;
}

export const witnessDefaults = {
  lagInstancesMax: 256,
  lagBytesMax: 16 * MiB,
  waitingReadsMax: 4096,
  unansweredMax: 262_144,
} as const;

/** What was seen, for the report: a run in which nothing was judged has proven nothing. */
export interface WitnessCounts {
  /** Commands of the decided order that the reference model executed, their replies compared. */
  readonly commands: number;
  /** Reads outside the decided order whose replies were compared. */
  readonly reads: number;
  /** Commands, reads included, whose answers to clients were compared with what the replicas had replied. */
  readonly answered: number;
  /** Commands of which a bound or a gap kept something from being judged. Not 0: the verdict is "unknown", see `reasons`. */
  readonly unjudged: number;
  readonly reasons: readonly string[];
}

/** A block of commands that a replica executed, with its complete reply block. */
export interface ExecutedBlock {
  /** Index of the block in its batch. */
  readonly index: number;
  readonly reply: Uint8Array;
}

/** What is known when a client sends something, to be given back with the answer. */
export interface Departure {
  /** Highest position of anything that had been answered. */
  readonly floor: Position;
  /** How many reads the replicas had executed. */
  readonly reads: number;
}

export interface Answer {
  /** Whoever sent it one behind the other with its other operations. */
  readonly connection: string;
  readonly departure: Departure;
  /** The reply block that the client got. */
  readonly reply: Span;
  /** For unordered reads the commands as they stand in the block; null for ordered ones. */
  readonly readCommands: Span | null;
}

interface Waiting {
  readonly instance: Instance;
  readonly batch: Uint8Array;
  readonly executed: readonly ExecutedBlock[];
}

interface ReadExecution {
  readonly replica: ReplicaId;
  readonly block: Uint8Array;
  readonly reply: Uint8Array;
}

interface Place {
  readonly position: Position;
  /** Of a reply block, or which of all executed reads this is. */
  readonly mark: number;
  /** The replies were compared with those of the model, or will be. */
  readonly judged: boolean;
}

const VIOLATIONS_MAX = 100;
/** Connections whose last place is remembered; the oldest are forgotten, and their next operation is compared with nothing. */
const CONNECTIONS_MAX = 100_000;

/**
 * The witness along the decided order: linearizability is easy to check when the order is known. The commands of the log are
 * executed once more by a reference model, whose replies must be those of the replicas and those that the clients got; and
 * each operation must stand, in that order, behind everything that had been answered when it was sent. Reads outside the
 * log have their place behind the instance through which the replica that answered had executed.
 *
 * Costs the same for each operation however many there are, also for ranges and transactions over any keys, and holds no
 * more than `WitnessOptions` say; what a bound keeps from being judged is counted. Feed it every instance that any replica
 * executes first, every read that any replica executes, and what clients send and are answered, in order of time.
 */
export class WitnessChecker {
  readonly #reference: ReferenceModel;
  readonly #options: Required<WitnessOptions>;
  readonly #violations: WitnessViolation[] = [];
  readonly #slab = new ByteSlab();

  /** Highest instance that was told of, and the one through which the model has executed. */
  #frontier: Instance = 0;
  #applied: Instance = 0;
  #timeMs = 0;
  readonly #waiting: Waiting[] = [];
  #waitingAt = 0;
  #waitingBytes = 0;
  readonly #reads = new Map<Instance, ReadExecution[]>();
  #waitingReads = 0;
  #gap = false;

  /** Highest position of anything answered. */
  #floor: Position = 0;
  /** By session and first sequence number, until it is answered. */
  readonly #blocks = new Map<string, Place>();
  /** By ticket, commands and reply: places where a replica gave this reply. */
  readonly #readPlaces = new Map<number, Place[]>();
  #readsSeen = 0;
  #blocksForgotten = false;
  #readsForgotten = false;
  readonly #connections = new Map<string, Position>();

  #commands = 0;
  #readCommands = 0;
  #answered = 0;
  #unjudged = 0;
  readonly #reasons = new Map<string, number>();

  constructor(reference: ReferenceModel, options: WitnessOptions = {}) {
    this.#reference = reference;
    this.#options = { ...witnessDefaults, ...options };
  }

  /** What was found so far, oldest first; at most 100. */
  violations(): readonly WitnessViolation[] {
    return this.#violations;
  }

  counts(): WitnessCounts {
    return {
      commands: this.#commands,
      reads: this.#readCommands,
      answered: this.#answered,
      unjudged: this.#unjudged,
      reasons: [...this.#reasons].map(([reason, count]) => `${count} commands: ${reason}`),
    };
  }

  /** True if no replica has executed this instance yet: `onInstance` wants it. */
  wants(instance: Instance): boolean {
    return instance > this.#frontier;
  }

  /** A replica is the first to have executed an instance. The bytes are copied. */
  onInstance(instance: Instance, batch: Span, executed: readonly ExecutedBlock[]): void {
    if (!this.wants(instance)) return;
    if (instance !== this.#frontier + 1) this.#gap = true;
    this.#frontier = instance;
    const { view, bytes, start, end } = batch;
    let at = start + BATCH_HEADER_BYTES;
    let index = 0;
    for (const block of executed) {
      for (; index < block.index; index++) at += blockLength(view, at);
      const mark = hashOf(block.reply, 0, block.reply.length);
      this.#blocks.set(nameOf(blockSession(view, at), blockSequence(view, at)), {
        position: positionOf(instance, index),
        mark,
        judged: true,
      });
    }
    if (this.#forgetOldest(this.#blocks)) this.#blocksForgotten = true;
    this.#waiting.push({ instance, batch: this.#slab.copy(bytes, start, end), executed });
    this.#waitingBytes += end - start;
    const { lagInstancesMax, lagBytesMax } = this.#options;
    while (this.#frontier - this.#applied > lagInstancesMax || this.#waitingBytes > lagBytesMax) this.#applyNext();
  }

  /** A replica has executed a block of unordered reads on its state through an instance. The bytes are kept. */
  onRead(replica: ReplicaId, through: Instance, block: Uint8Array, reply: Uint8Array): void {
    const mark = ++this.#readsSeen;
    const key = readKeyOf(block, BLOCK_HEADER_BYTES, block.length, reply, 0, reply.length);
    const place = { position: behind(through), mark, judged: through >= this.#applied };
    const places = this.#readPlaces.get(key);
    if (places === undefined) this.#readPlaces.set(key, [place]);
    else places.push(place);
    if (this.#forgetOldest(this.#readPlaces)) this.#readsForgotten = true;
    const read = { replica, block, reply };
    // Perhaps nobody ever hears the answer, as when a replica goes on after a long pause.
    if (through < this.#applied) return;
    if (through === this.#applied) return this.#judgeRead(through, read);
    const waiting = this.#reads.get(through);
    if (waiting === undefined) this.#reads.set(through, [read]);
    else waiting.push(read);
    if (++this.#waitingReads > this.#options.waitingReadsMax) this.#applyAll();
  }

  /** A client sends a block for the first time. Give what this returns to `onAnswered`. */
  onSent(): Departure {
    return { floor: this.#floor, reads: this.#readsSeen };
  }

  /** A client got the replies to a block. Answers of one connection come in the order in which it sent the blocks. */
  onAnswered(answer: Answer): void {
    const { connection, departure, reply, readCommands } = answer;
    const { view, bytes, start, end } = reply;
    const count = replyCount(view, start);
    const who = `connection ${connection}`;
    let position: Position | null;
    if (readCommands === null) {
      const name = nameOf(replySession(view, start), replySequence(view, start));
      position = this.#placeOfBlock(name, hashOf(bytes, start, end), count, who);
      if (position === null) return;
      if (position <= departure.floor) {
        const message = `${who}: commands of ${name} stand in ${named(position)}, but what stands in ${named(departure.floor)}`;
        this.#report("real-time", `${message} had been answered before they were sent`);
      }
    } else {
      const key = readKeyOf(readCommands.bytes, readCommands.start, readCommands.end, bytes, start, end);
      position = this.#placeOfRead(key, departure, count, who, bytes, view, start);
      if (position === null) return;
    }
    this.#answered += count;
    const before = this.#connections.get(connection) ?? 0;
    if (position < before) {
      const message = `${who}: an operation stands in ${named(position)}, the one sent before it in ${named(before)}`;
      this.#report("connection-order", message);
    }
    this.#connections.set(connection, Math.max(before, position));
    if (this.#connections.size > CONNECTIONS_MAX) {
      for (const oldest of this.#connections.keys()) {
        this.#connections.delete(oldest);
        break;
      }
    }
    if (position > this.#floor) this.#floor = position;
  }

  /** To be called at the end: the model executes what it has put off. */
  finish(): readonly WitnessViolation[] {
    this.#applyAll();
    for (const reads of this.#reads.values()) {
      for (const { reply } of reads) this.#leaveOut(countOf(reply), "a read was answered from a state no replica had");
    }
    this.#reads.clear();
    return this.#violations;
  }

  #placeOfBlock(name: string, mark: number, count: number, who: string): Position | null {
    const place = this.#blocks.get(name);
    this.#blocks.delete(name);
    if (place === undefined) {
      if (this.#blocksForgotten || this.#gap) {
        this.#leaveOut(count, "an answer came so late that its execution had been forgotten");
      } else this.#report("durability", `${who}: commands of ${name} were answered, but no replica has executed them`);
      return null;
    }
    if (place.mark !== mark) {
      const message = `${who}: the answer to the commands of ${name} is not what the first replica to execute them replied`;
      this.#report("witness", message);
    }
    return place.position;
  }

  /** Where a read took place that was answered so: as early as it can have been, which constrains later operations least. */
  #placeOfRead(
    key: number,
    departure: Departure,
    count: number,
    who: string,
    bytes: Uint8Array,
    view: DataView,
    start: number,
  ): Position | null {
    let best = Infinity;
    let bestJudged = true;
    let latest = -1;
    for (const { position, mark, judged } of this.#readPlaces.get(key) ?? []) {
      if (mark <= departure.reads) continue;
      latest = Math.max(latest, position);
      if (position < departure.floor || position >= best) continue;
      best = position;
      bestJudged = judged;
    }
    if (!bestJudged) this.#leaveOut(count, "a read was answered from a state that the model had left behind");
    if (best < Infinity) return best;
    if (latest >= 0) {
      const message = `${who}: a read was answered ${describeReply(firstReply(bytes, view, start))} from ${named(latest)}`;
      this.#report(
        "stale-read",
        `${message}, but what stands in ${named(departure.floor)} had been answered before it was sent`,
      );
    } else if (this.#readsForgotten) {
      this.#leaveOut(count, "a read was answered so late that its execution had been forgotten");
    } else this.#report("durability", `${who}: a read was answered that no replica has executed so`);
    return null;
  }

  // The reference model.

  #applyAll(): void {
    while (this.#waitingAt < this.#waiting.length) this.#applyNext();
  }

  #applyNext(): void {
    const next = this.#waiting[this.#waitingAt++];
    if (next === undefined) return;
    this.#waitingBytes -= next.batch.length;
    if (this.#waitingAt > 64 && this.#waitingAt * 2 > this.#waiting.length) {
      this.#waiting.splice(0, this.#waitingAt);
      this.#waitingAt = 0;
    }
    const { instance, batch, executed } = next;
    this.#applied = instance;
    const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
    this.#timeMs = Math.max(this.#timeMs, batchTime(view, 0));
    if (!this.#gap) this.#reference.advance(this.#timeMs);
    let at = BATCH_HEADER_BYTES;
    let index = 0;
    for (const block of executed) {
      for (; index < block.index; index++) at += blockLength(view, at);
      this.#judgeBlock(instance, batch, view, at, block.reply);
    }
    const reads = this.#reads.get(instance);
    if (reads === undefined) return;
    this.#reads.delete(instance);
    this.#waitingReads -= reads.length;
    for (const read of reads) this.#judgeRead(instance, read);
  }

  #judgeBlock(instance: Instance, batch: Uint8Array, view: DataView, at: number, reply: Uint8Array): void {
    const count = blockCommands(view, at);
    if (this.#gap) return this.#leaveOut(count, "an instance before them was executed by no replica");
    const who = `instance ${instance}, ${nameOf(blockSession(view, at), blockSequence(view, at))}`;
    this.#commands += this.#judge(who, batch, view, at + BLOCK_HEADER_BYTES, count, reply, false);
  }

  #judgeRead(through: Instance, { replica, block, reply }: ReadExecution): void {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    if (this.#gap) return this.#leaveOut(countOf(reply), "an instance before them was executed by no replica");
    const who = `a read on replica ${replica} behind instance ${through}`;
    this.#readCommands += this.#judge(who, block, view, BLOCK_HEADER_BYTES, countOf(reply), reply, true);
  }

  #judge(
    who: string,
    bytes: Uint8Array,
    view: DataView,
    from: number,
    count: number,
    reply: Uint8Array,
    readOnly: boolean,
  ): number {
    const replyView = new DataView(reply.buffer, reply.byteOffset, reply.byteLength);
    let at = from;
    let replied = REPLY_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      const observed = replyAt(reply, replyView, replied);
      replied += replyView.getUint32(replied, true);
      const command = { bytes, view, at };
      at += view.getUint32(at, true);
      const expected = lacksRoom(observed) ? observed : this.#reference.execute(command, readOnly, observed);
      if (sameReply(observed, expected)) continue;
      const text = JSON.stringify(latin1(bytes, command.at + 4, Math.min(at, command.at + 84)));
      const answers = `answered ${describeReply(observed)}, the reference model says ${describeReply(expected)}`;
      this.#report("witness", `${who}: command ${i + 1} of ${count}, ${text}, is ${answers}`);
    }
    return count;
  }

  #forgetOldest(map: Map<unknown, unknown>): boolean {
    if (map.size <= this.#options.unansweredMax) return false;
    for (const oldest of map.keys()) {
      map.delete(oldest);
      return true;
    }
    return false;
  }

  #leaveOut(count: number, reason: string): void {
    this.#unjudged += count;
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + count);
  }

  #report(invariant: WitnessInvariant, message: string): void {
    if (this.#violations.length < VIOLATIONS_MAX) this.#violations.push({ invariant, message });
  }
}

/** The place of a read behind an instance: above all blocks of it, below those of the next. */
const behind = (instance: Instance): Position => positionOf(instance, BATCH_BLOCKS_MAX - 1) + 0.5;

const nameOf = (session: SessionId, first: number): string => `session ${session} from ${first}`;

function named(position: Position): string {
  const instance = Math.floor(position / BATCH_BLOCKS_MAX);
  return Number.isInteger(position) ? `instance ${instance}` : `the state behind instance ${instance}`;
}

const countOf = (reply: Uint8Array): number =>
  replyCount(new DataView(reply.buffer, reply.byteOffset, reply.byteLength), 0);

const firstReply = (bytes: Uint8Array, view: DataView, start: number) =>
  replyCount(view, start) === 0 ? [] : replyAt(bytes, view, start + REPLY_HEADER_BYTES);

/** 52 bits, so that two different texts are taken for the same once in a few million runs of a million operations. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  const low = hashBytes(bytes, start, end, 0x317e55) >>> 0;
  return (hashBytes(bytes, start, end, 0x5eed) >>> 12) * 4294967296 + low;
}

function readKeyOf(
  commands: Uint8Array,
  commandsStart: number,
  commandsEnd: number,
  reply: Uint8Array,
  start: number,
  end: number,
): number {
  const asked = hashBytes(commands, commandsStart, commandsEnd, 0xa5ed);
  const low = hashBytes(reply, start, end, asked) >>> 0;
  return (hashBytes(reply, start, end, asked ^ 0x77777777) >>> 12) * 4294967296 + low;
}
