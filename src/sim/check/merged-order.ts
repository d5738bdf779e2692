import { ByteSlab, hashBytes, MiB } from "../../base/index.js";
import {
  BATCH_HEADER_BYTES,
  BLOCK_HEADER_BYTES,
  blockAcknowledged,
  blockCommands,
  BlockKind,
  blockKind,
  blockLength,
  blockSequence,
  blockSession,
  blockStrict,
  FAILED_REPLY_BYTES,
  type Instance,
  REPLY_HEADER_BYTES,
  replyCount,
  replyKind,
  replySequence,
  replySession,
  type SessionId,
  type Span,
  TraceCode,
} from "../../model/index.js";
import type { ThreadExecution } from "./thread-execution.js";
import { type Concern, describeReply, type KeyedReference, type Reply, replyAt, sameReply } from "./reference.js";

/**
 * - `sequential`: the replies of all threads are those of one sequential execution of what passed its safety check and of
 *   what was executed conservatively, in an order that every thread's order of delivery is part of (O3 of opt-PSMR).
 * - `session-order`: no command of a session is executed while an earlier one of it that it conflicts with waits for its
 *   conservative execution.
 * - `exactly-once`: what is executed conservatively has failed before, the same bytes, and is not executed again.
 * - `durability`: a command that was acknowledged does not wait for its conservative execution.
 */
export type MergedInvariant = "sequential" | "session-order" | "exactly-once" | "durability";

export interface MergedViolation {
  readonly invariant: MergedInvariant;
  readonly message: string;
}

/** What was seen, for the report: a run in which nothing was judged has proven nothing. */
export interface MergedCounts {
  /** Commands whose replies were compared with those of the reference model. */
  readonly commands: number;
  /** Commands that wait for their conservative execution. */
  readonly waiting: number;
  /** Instances that were left out because of a bound. */
  readonly unjudged: number;
}

/** An instance of a stream, as far as any replica has told of it. */
interface Told {
  readonly batch: Uint8Array;
  /** By thread: what it executed of the instance. */
  readonly answers: Map<number, Answers>;
}

/** The reply to a command that was executed conservatively: its reply block, and where the reply is there. */
interface LateAnswer {
  readonly session: SessionId;
  readonly sequence: number;
  readonly reply: Uint8Array;
  readonly at: number;
}

/** The replies to what a thread executed of an instance, in that order, duplicates left out. */
interface Answers {
  readonly blocks: Uint8Array[];
  readonly commands: LateAnswer[];
}

/** A command that has failed its safety check. */
interface Pending {
  readonly sequence: number;
  readonly hash: number;
  readonly concern: Concern;
  readonly strict: boolean;
}

/** Instances that are remembered until all threads have come through them, and their bytes. */
const WAITING_MAX = 200_000;
const WAITING_BYTES_MAX = 256 * MiB;
const VIOLATIONS_MAX = 100;
const HASH_SEED = 11;

/**
 * Executes what the threads of a replica execute once more, by a sequential reference model. Threads execute in parallel, but
 * what they do in parallel commutes; so any order will do that has each thread's order in it, and here that is: each thread's
 * own instances up to the next of g_all, then that one.
 *
 * Of each instance whichever replica is the first to tell of it is believed: that the others did the same is for others to check.
 * Feed it what every thread of every replica is given, in its order, and what it then executed.
 */
export class MergedChecker {
  readonly #reference: KeyedReference;
  readonly #groups: number;
  readonly #slab = new ByteSlab();
  readonly #violations: MergedViolation[] = [];
  /** By thread: through which instances of its own stream and of g_all its order is known, and what of that waits. */
  readonly #known: { own: Instance; all: Instance }[];
  readonly #order: { readonly stream: number; readonly instance: Instance }[][];
  /** By stream: the instances that wait, and through which all were taken. */
  readonly #waiting: Map<Instance, Told>[];
  readonly #taken: Instance[];
  #waitingBytes = 0;
  readonly #pending = new Map<SessionId, Pending[]>();
  readonly #acknowledged = new Map<SessionId, { readonly first: number; readonly last: number }[]>();
  #commands = 0;
  #unjudged = 0;

  constructor(reference: KeyedReference, groups: number) {
    this.#reference = reference;
    this.#groups = groups;
    this.#known = Array.from({ length: groups }, () => ({ own: 0, all: 0 }));
    this.#order = Array.from({ length: groups }, () => []);
    this.#waiting = Array.from({ length: groups + 1 }, () => new Map<Instance, Told>());
    this.#taken = Array.from({ length: groups + 1 }, () => 0);
  }

  violations(): readonly MergedViolation[] {
    return this.#violations;
  }

  counts(): MergedCounts {
    let waiting = 0;
    for (const pending of this.#pending.values()) waiting += pending.length;
    return { commands: this.#commands, waiting, unjudged: this.#unjudged };
  }

  /** A thread is given an instance, when it was behind these of its own stream and of g_all. The bytes are copied. */
  onDelivered(thread: number, stream: number, instance: Instance, own: Instance, all: Instance, batch: Span): void {
    if (this.#unjudged > 0) return;
    const known = this.#known[thread] as { own: Instance; all: Instance };
    if (own === known.own && all === known.all) {
      if (stream === 0) known.all = instance;
      else known.own = instance;
      this.#order[thread]?.push({ stream, instance });
    }
    const waiting = this.#waitingOf(stream);
    if (instance <= (this.#taken[stream] as number) || waiting.has(instance)) return;
    waiting.set(instance, { batch: this.#slab.copy(batch.bytes, batch.start, batch.end), answers: new Map() });
    this.#waitingBytes += batch.end - batch.start;
    if (waiting.size > WAITING_MAX || this.#waitingBytes > WAITING_BYTES_MAX) this.#giveUp();
  }

  /** A thread is through an instance; null if it executed nothing of it. */
  onExecuted(thread: number, stream: number, instance: Instance, execution: ThreadExecution | null): void {
    const told = this.#waitingOf(stream).get(instance);
    if (told === undefined || told.answers.has(thread)) return;
    told.answers.set(thread, answersOf(execution));
    this.#goOn();
  }

  /** A client has the final results of these commands. */
  onAcknowledged(session: SessionId, first: number, last: number): void {
    const ranges = this.#acknowledged.get(session);
    if (ranges === undefined) this.#acknowledged.set(session, [{ first, last }]);
    else ranges.push({ first, last });
  }

  /** To be called when the replicas have settled. */
  finish(): void {
    for (const [session, pending] of this.#pending) {
      const ranges = this.#acknowledged.get(session) ?? [];
      const answered = pending.find(({ sequence }) =>
        ranges.some(({ first, last }) => first <= sequence && sequence <= last),
      );
      if (answered === undefined) continue;
      const message = `command ${answered.sequence} of session ${session} was answered, and never executed conservatively`;
      this.#report("durability", message);
    }
  }

  /** Takes what can be taken: an instance of g_all when all threads have come to it and through it. */
  #goOn(): void {
    for (let went = true; went;) {
      went = false;
      for (let thread = 0; thread < this.#groups; thread++) {
        const order = this.#order[thread] as { stream: number; instance: Instance }[];
        for (let head = order[0]; head !== undefined && head.stream > 0; head = order[0]) {
          if (!this.#take(head.stream, head.instance, 1)) break;
          order.shift();
          went = true;
        }
      }
      const next = (this.#taken[0] as number) + 1;
      const there = this.#order.every(([head]) => head?.stream === 0 && head.instance === next);
      if (!there || !this.#take(0, next, this.#groups)) continue;
      for (const order of this.#order) order.shift();
      went = true;
    }
  }

  /** False if not as many threads have come through the instance. */
  #take(stream: number, instance: Instance, threads: number): boolean {
    const waiting = this.#waitingOf(stream);
    const told = waiting.get(instance);
    if (told === undefined || told.answers.size < threads) return false;
    waiting.delete(instance);
    this.#waitingBytes -= told.batch.length;
    this.#taken[stream] = instance;
    const { batch, answers } = told;
    const view = viewOf(batch);
    const where = `instance ${instance} of stream ${stream}`;
    // The order within an instance of g_all: what failed in the groups, from the last one on, and then all else. Of several copies
    // that one was executed whose turn it was, so that the order of the replies says which.
    for (let thread = this.#groups - 1; thread >= 0; thread--) {
      let from = BATCH_HEADER_BYTES;
      for (const answer of answers.get(thread)?.commands ?? []) {
        from = find(view, from, (at) => placeOf(view, at, answer) >= 0);
        if (from < 0) break;
        this.#takeConservative(where, batch, view, from, answer);
      }
    }
    for (let at = BATCH_HEADER_BYTES; at < batch.length; at += blockLength(view, at)) {
      if (blockKind(view, at) === BlockKind.commands) this.#forget(blockSession(view, at), blockAcknowledged(view, at));
    }
    for (const { blocks } of answers.values()) {
      let from = BATCH_HEADER_BYTES;
      for (const reply of blocks) {
        from = find(view, from, (at) => isAnswered(view, at, reply));
        if (from < 0) break;
        this.#takeBlock(where, batch, view, from, reply);
        from += blockLength(view, from);
      }
    }
    return true;
  }

  #takeBlock(where: string, bytes: Uint8Array, view: DataView, block: number, reply: Uint8Array): void {
    const session = blockSession(view, block);
    const first = blockSequence(view, block);
    const count = blockCommands(view, block);
    const strict = blockStrict(view, block);
    const replies = viewOf(reply);
    let at = block + BLOCK_HEADER_BYTES;
    let answer = REPLY_HEADER_BYTES;
    for (let sequence = first; sequence < first + count; sequence++) {
      const end = at + view.getUint32(at, true);
      const command = { bytes, view, at };
      const concern = this.#reference.concernOf(command);
      if (replies.getUint32(answer, true) === FAILED_REPLY_BYTES) {
        this.#await(session, { sequence, hash: hashBytes(bytes, at, end, HASH_SEED), concern, strict });
      } else {
        const who = `${where}: command ${sequence} of session ${session}`;
        this.#compareOrder(who, session, sequence, concern, strict);
        const observed = replyAt(reply, replies, answer);
        this.#compare(who, this.#reference.execute(command, false, observed), observed);
      }
      at = end;
      answer += replies.getUint32(answer, true);
    }
  }

  #takeConservative(where: string, bytes: Uint8Array, view: DataView, block: number, answer: LateAnswer): void {
    const { session, sequence, reply } = answer;
    let at = block + BLOCK_HEADER_BYTES;
    for (let skipped = placeOf(view, block, answer); skipped > 0; skipped--) at += view.getUint32(at, true);
    const who = `${where}: command ${sequence} of session ${session}`;
    const hash = hashBytes(bytes, at, at + view.getUint32(at, true), HASH_SEED);
    const strict = this.#redeem(who, session, sequence, hash);
    const command = { bytes, view, at };
    this.#compareOrder(who, session, sequence, this.#reference.concernOf(command), strict);
    const observed = replyAt(reply, viewOf(reply), answer.at);
    this.#compare(who, this.#reference.execute(command, false, observed), observed);
  }

  #await(session: SessionId, pending: Pending): void {
    const others = this.#pending.get(session);
    if (others === undefined) this.#pending.set(session, [pending]);
    else others.push(pending);
  }

  /** Whoever sent these commands wants no more of them: what has not been executed never will be. */
  #forget(session: SessionId, acknowledged: number): void {
    const pending = this.#pending.get(session);
    if (pending === undefined) return;
    const left = pending.filter(({ sequence }) => sequence > acknowledged);
    if (left.length > 0) this.#pending.set(session, left);
    else this.#pending.delete(session);
  }

  /** A failed command is executed after all; says whether its block was strict. */
  #redeem(who: string, session: SessionId, sequence: number, hash: number): boolean {
    const pending = this.#pending.get(session) ?? [];
    const index = pending.findIndex((each) => each.sequence === sequence);
    const failed = pending[index];
    if (failed === undefined) {
      this.#report("exactly-once", `${who} is executed conservatively, and does not wait for that`);
      return false;
    }
    if (failed.hash !== hash) this.#report("exactly-once", `${who} is another than the one that failed`);
    pending.splice(index, 1);
    if (pending.length === 0) this.#pending.delete(session);
    return failed.strict;
  }

  #compareOrder(who: string, session: SessionId, sequence: number, concern: Concern, strict: boolean): void {
    for (const earlier of this.#pending.get(session) ?? []) {
      if (earlier.sequence > sequence || !(strict || earlier.strict || conflict(concern, earlier.concern))) continue;
      this.#report("session-order", `${who} is executed although command ${earlier.sequence} before it waits`);
    }
  }

  #compare(who: string, expected: Reply, observed: Reply): void {
    this.#commands++;
    if (sameReply(expected, observed)) return;
    const said = `is answered ${describeReply(observed)}, the reference model says ${describeReply(expected)}`;
    this.#report("sequential", `${who} ${said}`);
  }

  /** More waits than is kept: from here on nothing can be judged. */
  #giveUp(): void {
    this.#unjudged++;
    for (const waiting of this.#waiting) waiting.clear();
    this.#waitingBytes = 0;
  }

  #waitingOf(stream: number): Map<Instance, Told> {
    return this.#waiting[stream] as Map<Instance, Told>;
  }

  #report(invariant: MergedInvariant, message: string): void {
    if (this.#violations.length < VIOLATIONS_MAX) this.#violations.push({ invariant, message });
  }
}

function conflict(a: Concern, b: Concern): boolean {
  return a.low <= b.high && b.low <= a.high && (a.writes || b.writes);
}

/** Where the first block from `from` on begins that is the one; -1 if there is none. */
function find(view: DataView, from: number, is: (at: number) => boolean): number {
  for (let at = from; at < view.byteLength; at += blockLength(view, at)) if (is(at)) return at;
  return -1;
}

/** Which command of a conservative block this is the reply to; -1 if it is of another. */
function placeOf(view: DataView, at: number, { session, sequence }: LateAnswer): number {
  if (blockKind(view, at) !== BlockKind.conservative || blockSession(view, at) !== session) return -1;
  const place = sequence - blockSequence(view, at);
  return place < blockCommands(view, at) ? place : -1;
}

/** Whether a reply block is that to the block of commands at `at`. */
function isAnswered(view: DataView, at: number, reply: Uint8Array): boolean {
  const replies = viewOf(reply);
  return (
    blockKind(view, at) === BlockKind.commands &&
    blockSession(view, at) === replySession(replies, 0) &&
    blockSequence(view, at) === replySequence(replies, 0) &&
    blockCommands(view, at) === replyCount(replies, 0)
  );
}

function answersOf(execution: ThreadExecution | null): Answers {
  const answers: Answers = { blocks: [], commands: [] };
  if (execution === null) return answers;
  const executed = new Map<string, number>();
  for (const { code, a, b, c } of execution.effects) {
    if (code !== TraceCode.conservativeExecuted) continue;
    for (let sequence = b; sequence < b + c; sequence++) {
      const command = `${a} ${sequence}`;
      executed.set(command, (executed.get(command) ?? 0) + 1);
    }
  }
  for (const reply of execution.replies) {
    const view = viewOf(reply);
    if (replyKind(view, 0) !== BlockKind.conservative) {
      answers.blocks.push(reply);
      continue;
    }
    const session = replySession(view, 0);
    const first = replySequence(view, 0);
    let at = REPLY_HEADER_BYTES;
    for (let sequence = first; sequence < first + replyCount(view, 0); sequence++) {
      // Beside it there may be replies to commands that were executed before, by an earlier copy.
      const command = `${session} ${sequence}`;
      const times = executed.get(command) ?? 0;
      if (times > 0) {
        executed.set(command, times - 1);
        answers.commands.push({ session, sequence, reply, at });
      }
      at += view.getUint32(at, true);
    }
  }
  return answers;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
