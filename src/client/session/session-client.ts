// Hot file: one step per submitted block and per reply block. No work per command; allocations per block only.
import { assert, ByteWriter, KiB, Prng } from "../../base/index.js";
import {
  BLOCK_BYTES_MAX,
  BLOCK_COMMANDS_MAX,
  BLOCK_HEADER_BYTES,
  BlockKind,
  type ClientEvent,
  type ClientFailure,
  type ClientModel,
  type ClientSink,
  type ClientView,
  FAILED_REPLY_BYTES,
  FrameKind,
  type ReplicaId,
  replyCount,
  replyKind,
  replySequence,
  replySession,
  REPLY_BYTES_MAX,
  REPLY_HEADER_BYTES,
  ReplyStatus,
  replyStatus,
  type SessionId,
  type Span,
  stampBlock,
} from "../../model/index.js";
import { type SessionClientConfig, sessionClientConfig } from "./config.js";
import { BlockFrames, type OpenBlock } from "./open-block.js";
import { Openings } from "./openings.js";
import { OrderedWindow } from "./ordered-window.js";
import { Route } from "./route.js";

export interface SessionClientInit {
  /** Ids of all replicas of the cluster. */
  readonly replicas: readonly ReplicaId[];
  /** 16 bytes that no other client has: the reply that opens the session repeats them. */
  readonly nonce: Uint8Array;
  /**
   * The stream whose replicas it talks to, 0 to 255 and 0 by default. A client of another stream borrows its session from one
   * of stream 0.
   */
  readonly stream?: number;
  /**
   * Who multicasts commands again that failed opt-PSMR's safety check: the replicas (default) or this client, through that of
   * stream 0. As the cluster has it.
   */
  readonly resubmit?: "replicas" | "client" | undefined;
  /**
   * Every command of a session takes effect after all before it, even if some of these fail their safety check; by default only
   * those do that conflict with one which failed.
   */
  readonly strict?: boolean | undefined;
}

/** Makes a session client. Throws `ConfigError` for a configuration out of bounds. */
export function createSessionClient(init: SessionClientInit, config?: Partial<SessionClientConfig>): ClientModel {
  const { nonce, stream = 0 } = init;
  assert(nonce.length === 16, `a nonce has 16 bytes, got ${nonce.length}`);
  assert(Number.isInteger(stream) && stream >= 0 && stream <= 255, `a stream is 0 to 255, got ${stream}`);
  return new SessionClient(init, sessionClientConfig(config));
}

const noBytes = new Uint8Array(0);
const emptySpan: Span = { bytes: noBytes, view: new DataView(noBytes.buffer), start: 0, end: 0 };
/** Redirects followed at once without any progress between them; beyond it the client probes at its own pace. */
const REDIRECTS_MAX = 3;
/** Larger buffers of whole replies are left to the garbage collector rather than kept. */
const WHOLE_BYTES_KEPT = 256 * KiB;

/**
 * What becomes of a submitted block, once and only once: `resolve` with its replies (a block of reads with long ones: part by
 * part, the next when the caller asks for `more`), or `fail` with
 *
 * - `try-again`: certainly not applied. Its deadline passed before it was sent, or it is a read, which applies nothing.
 * - `indeterminate`: perhaps applied, perhaps later. Its deadline passed after it was sent (it is still sent until it is
 *   answered, and holds its place in the window); or the service no longer has its replies (`stale`); or the session expired.
 * - `session-expired`: certainly not applied. It was waiting to be sent in a session that expired.
 * - `misrouted`: certainly not applied. It was sent through a stream that does not take all of its commands.
 * - `closed`: the client was closed; sent blocks may have been applied.
 *
 * The client of stream 0 opens its own session, and lends sessions to clients of other streams, which open none: a `borrow`
 * event opens one, which is sent like everything else until it is answered, and `lend` tells of it. It ends them when it is
 * closed, and each when the stream borrows another.
 *
 * A block of which some commands failed opt-PSMR's safety check is not done: it holds its place and is sent again as it is until
 * the replies to their conservative copies have come, and is resolved with all of its replies at once. Nothing from the first
 * such command on is acknowledged meanwhile, for the service forgets what is.
 *
 * After an expiry the client opens another session by itself. The sink's `resolve`, `fail` and `opened` are never called
 * inside a `submit` or `more` step, and may themselves step those.
 */
class SessionClient implements ClientModel {
  readonly #config: SessionClientConfig;
  readonly #route: Route;
  readonly #window: OrderedWindow;
  readonly #frames: BlockFrames;
  readonly #prng: Prng;
  readonly #stream: number;
  /** It multicasts failed commands again itself. */
  readonly #resubmits: boolean;
  readonly #view: { -readonly [K in keyof ClientView]: ClientView[K] };

  /** The blocks that open sessions, for this client and those that borrow, until their replies are here. */
  readonly #openings: Openings;
  /** The sessions that were lent, by stream. */
  readonly #lent: SessionId[] = [];
  /** 0 while it is being opened. */
  #session: SessionId = 0;
  /** Latest first send in the session, for its idle limit. */
  #usedAt = -Infinity;
  /** Reads by ticket; the one sent longest ago comes first. */
  readonly #reads = new Map<number, OpenBlock>();
  #ticketNext = 1;
  /** What is left of blocks of reads whose replies did not fit in one block, by token, until the caller asks for more. */
  readonly #rests = new Map<number, OpenBlock>();

  /** The reply block that is being put together of what came to its parts, and the conservative block that leaves. */
  #whole = new ByteWriter(4 * KiB, REPLY_BYTES_MAX);
  readonly #copy = new ByteWriter(4 * KiB, BLOCK_BYTES_MAX);
  /** The smallest failed command whose conservative copy another one has to wait for. */
  #sibling = Infinity;

  /** The window's oldest block changed or has more of its replies, or the session opened. */
  #movedAt = -Infinity;
  #timeoutMs: number;
  #probeMs: number;
  #probeAt = -Infinity;
  /** A leader that refused something is sent everything again at this time. */
  #resendAt = Infinity;
  #redirects = 0;
  /** Of stream 0: another stream's client has not heard of what this one has sent. */
  #doubtUntil = -Infinity;
  #retryQuietUntil = -Infinity;

  /** No open block has an earlier deadline. */
  #deadlineAt = Infinity;
  #wakeAt = Infinity;
  #full = false;
  #closed = false;

  constructor(init: SessionClientInit, config: SessionClientConfig) {
    this.#config = config;
    this.#prng = new Prng(config.seed);
    this.#route = new Route(init.replicas, this.#prng.u32());
    this.#window = new OrderedWindow(config.blocksMax);
    this.#stream = init.stream ?? 0;
    this.#frames = new BlockFrames(this.#stream, init.strict ?? false);
    this.#resubmits = init.resubmit === "client";
    this.#openings = new Openings(this.#frames, init.nonce);
    this.#timeoutMs = this.#jittered(config.retransmitMs);
    this.#probeMs = config.probeMs;
    this.#view = { session: 0, leader: 0, open: true, blocksOpen: 0, bytesOpen: 0 };
  }

  inspect(): ClientView {
    return this.#view;
  }

  step(event: ClientEvent, out: ClientSink): void {
    if (this.#closed) return;
    const { now } = event;
    switch (event.kind) {
      case "start":
        this.#openSession(now, out);
        break;
      case "submit":
        this.#onSubmit(event, out);
        break;
      case "more":
        this.#onMore(event, out);
        break;
      case "reply":
        this.#onReply(now, event.from, event.span, out);
        break;
      case "redirect":
        this.#onRedirect(now, event.from, event.leader, out);
        break;
      case "link":
        this.#onLink(now, event.replica, event.up, out);
        break;
      case "tick":
        this.#wakeAt = Infinity;
        this.#onTick(now, out);
        break;
      case "borrow":
        this.#onBorrow(now, event.stream, out);
        break;
      case "lend":
        this.#onLend(now, event.session, out);
        break;
      case "resubmit":
        this.#onResubmit(now, event.span, event.again, out);
        break;
      case "close":
        this.#onClose(out);
        return;
    }
    // A sink that was told of a failure may have closed the client.
    if (this.#closed) return;
    this.#refresh();
    if (event.kind !== "submit" && event.kind !== "more" && this.#full && this.#view.open) {
      this.#full = false;
      out.opened();
      if (this.#closed) return;
      this.#refresh();
    }
    const wake = Math.min(this.#deadlineAt, this.#dueAt());
    if (wake < this.#wakeAt) {
      // Timers only move forward here; when one fires too early the next is asked for then. That saves one timer a block.
      this.#wakeAt = wake;
      out.wakeAt(wake);
    }
  }

  // Events.

  #onSubmit(event: Extract<ClientEvent, { kind: "submit" }>, out: ClientSink): void {
    const { now, span, commands } = event;
    this.#refresh();
    assert(this.#view.open, "a block was submitted while the client's window is full");
    assert(commands >= 1 && commands <= BLOCK_COMMANDS_MAX, `a block has 1 to ${BLOCK_COMMANDS_MAX} commands`);
    const length = BLOCK_HEADER_BYTES + span.end - span.start;
    assert(length <= BLOCK_BYTES_MAX, `a block of ${length} bytes is longer than ${BLOCK_BYTES_MAX}`);
    const kind = event.read ? BlockKind.read : BlockKind.commands;
    const block = this.#frames.frame(kind, event.token, commands, span, event.deadline);
    if (event.deadline < this.#deadlineAt) this.#deadlineAt = event.deadline;
    if (event.read) this.#beginRead(block, now, out);
    else {
      this.#window.waiting.push(block);
      if (this.#route.settled) this.#pump(now, out);
    }
    if (!this.#route.settled && now >= this.#probeAt) this.#probe(now, out);
    this.#refresh();
    if (!this.#view.open) this.#full = true;
  }

  #onMore(event: Extract<ClientEvent, { kind: "more" }>, out: ClientSink): void {
    const { now, token, deadline } = event;
    const block = this.#rests.get(token);
    assert(block !== undefined, `more was asked of block ${token}, of which nothing is left`);
    this.#rests.delete(token);
    block.deadline = deadline;
    if (deadline < this.#deadlineAt) this.#deadlineAt = deadline;
    if (deadline <= now) {
      // Nobody wants the rest: nothing is sent, and it fails with the next tick.
      block.sequence = this.#ticketNext++;
      this.#reads.set(block.sequence, block);
      return;
    }
    this.#beginRead(block, now, out);
    if (!this.#route.settled && now >= this.#probeAt) this.#probe(now, out);
  }

  /** Sends a block of reads under a ticket of its own. */
  #beginRead(block: OpenBlock, now: number, out: ClientSink): void {
    block.sequence = this.#ticketNext++;
    stampBlock(block.view, 0, 0, block.sequence, 0);
    this.#reads.set(block.sequence, block);
    if (this.#route.settled) this.#send(block, FrameKind.read, now, out);
  }

  #onReply(now: number, from: ReplicaId, span: Span, out: ClientSink): void {
    const route = this.#route;
    if (from === route.target) route.quietSince = now;
    route.trust(from);
    // Whoever answers is taken for the leader while none is at hand; if it only remembered old replies, it will redirect.
    const found = !route.settled && route.isUp(from);
    if (found) route.follow(from, now);
    const { view, start } = span;
    const kind = replyKind(view, start);
    if (kind === BlockKind.read) this.#onReadReply(now, span, out);
    else if (kind === BlockKind.commands) this.#onOrderedReply(now, span, out);
    else if (kind === BlockKind.conservative) this.#onConservativeReply(now, span, out);
    else if (kind === BlockKind.openSession) this.#onSessionOpened(now, span, out);
    if (found && !this.#closed) this.#transmit(now, out);
  }

  #onReadReply(now: number, span: Span, out: ClientSink): void {
    const { view, start } = span;
    const block = this.#reads.get(replySequence(view, start));
    // A replica with too many reads in its queues asks for patience: the read goes out again after the timeout.
    if (block === undefined || replyStatus(view, start) === ReplyStatus.retry) return;
    this.#reads.delete(block.sequence);
    this.#progressed(now);
    const count = replyCount(view, start);
    if (replyStatus(view, start) === ReplyStatus.split && count >= 1 && count < block.commands) {
      // Sent only when the caller wants it, and behind this part: reads of one connection must not overtake each other.
      this.#rests.set(block.token, this.#frames.rest(block, count));
      return this.#resolve(block.token, span, out);
    }
    this.#frames.release(block);
    const answered = replyStatus(view, start) === ReplyStatus.ok && count === block.commands;
    if (answered) this.#resolve(block.token, span, out);
    else this.#fail(block.token, "try-again", out);
  }

  #onOrderedReply(now: number, span: Span, out: ClientSink): void {
    const { view, start } = span;
    // A late reply of a session that is over says nothing about this one.
    if (this.#session === 0 || replySession(view, start) !== this.#session) return;
    const status = replyStatus(view, start);
    const sequence = replySequence(view, start);
    if (status === ReplyStatus.sessionExpired) return this.#onExpired(now, out);
    if (status === ReplyStatus.retry) return this.#onRetry(now, sequence, out);
    if (status === ReplyStatus.misrouted) return this.#onMisrouted(now, sequence, out);
    const block = this.#window.find(sequence);
    if (block === undefined || block.answered) return;
    // What has failed stays so.
    if (block.partial !== null && status === ReplyStatus.ok) return;
    const complete = replyCount(view, start) === block.commands;
    if (status === ReplyStatus.failed && complete && this.#stream > 0)
      return this.#onPartialReply(now, block, span, out);
    const { token, abandoned } = block;
    this.#settle(block, now);
    if (abandoned) return;
    // Stale: applied, and its replies are gone. They were never acknowledged, so the service's bounded memory let them go.
    if (status === ReplyStatus.ok && complete) this.#resolve(token, span, out);
    else this.#fail(token, "indeterminate", out);
  }

  /** Some of the block's commands have failed their safety check; the others are answered. */
  #onPartialReply(now: number, block: OpenBlock, span: Span, out: ClientSink): void {
    // What a copy of the block is answered is known already.
    if (block.partial !== null || !this.#holds(block, span)) return;
    const partial = this.#frames.hold(block, span);
    if (block === this.#window.sent.at(0)) this.#progressed(now);
    if (partial.pending === 0) return this.#finish(block, now, out);
    const { token, abandoned } = block;
    const { pending } = partial;
    this.#resubmit(block, false, out);
    if (abandoned) return;
    this.#refresh();
    out.pending(token, pending, span);
  }

  /** Conservative copies were executed, or not, for the reason that the status gives. */
  #onConservativeReply(now: number, span: Span, out: ClientSink): void {
    const { bytes, view, start } = span;
    if (this.#session === 0 || replySession(view, start) !== this.#session) return;
    const status = replyStatus(view, start);
    const sequence = replySequence(view, start);
    if (status === ReplyStatus.sessionExpired) return this.#onExpired(now, out);
    if (status === ReplyStatus.retry) return this.#onRefused(sequence, out);
    const executed = status === ReplyStatus.ok;
    // Without replies it speaks of its first command only, whose reply is gone.
    const count = executed ? replyCount(view, start) : 1;
    let at = start + REPLY_HEADER_BYTES;
    for (let i = 0; i < count && !this.#closed;) {
      const block = this.#window.holder(sequence + i);
      const first = sequence + i - (block?.sequence ?? sequence + i);
      const through = Math.min(count - i, (block?.commands ?? first + 1) - first);
      const partial = block?.partial ?? null;
      // If the reply to the block itself was lost, both come again.
      const takes = block !== undefined && partial !== null && (!executed || this.#holds(block, span));
      const { pending = 0, bytes: before = 0 } = partial ?? {};
      for (let index = first; index < first + through; index++, i++) {
        const length = executed ? view.getUint32(at, true) : 0;
        if (takes && length > FAILED_REPLY_BYTES) partial.fill(index, bytes, at, length);
        else if (takes && !executed) partial.lose(index);
        at += length;
      }
      if (!takes || partial.pending === pending) continue;
      this.#frames.repliesHeld += partial.bytes - before;
      if (block === this.#window.sent.at(0)) this.#progressed(now);
      if (partial.pending === 0) this.#finish(block, now, out);
    }
    if (!this.#closed && sequence <= this.#sibling && this.#sibling < sequence + count)
      this.#resubmitBehindSibling(out);
  }

  /** Whether replies to a block can be held. The oldest one's always can, for all others wait for it. */
  #holds(block: OpenBlock, { start, end }: Span): boolean {
    return (
      block === this.#window.sent.at(0) || this.#frames.repliesHeld + end - start <= this.#config.repliesHeldBytesMax
    );
  }

  /** All commands of a block that had failed are executed. */
  #finish(block: OpenBlock, now: number, out: ClientSink): void {
    const { token, abandoned, partial } = block;
    const whole = partial?.lost === false && !abandoned;
    if (whole) {
      this.#whole.clear();
      partial.assemble(this.#whole);
    }
    this.#settle(block, now);
    if (abandoned) return;
    if (!whole) return this.#fail(token, "indeterminate", out);
    const { bytes, view, length } = this.#whole;
    if (bytes.length > WHOLE_BYTES_KEPT) this.#whole = new ByteWriter(4 * KiB, REPLY_BYTES_MAX);
    this.#resolve(token, { bytes, view, start: 0, end: length }, out);
  }

  /** A sent block is answered, wholly. */
  #settle(block: OpenBlock, now: number): void {
    this.#frames.release(block);
    if (this.#window.answer(block)) this.#progressed(now);
  }

  /**
   * An earlier command of the session has to be executed first: one with which refused copies conflict, or one of a block whose
   * other replies the service has forgotten.
   */
  #onRefused(sibling: number, out: ClientSink): void {
    const block = this.#window.holder(sibling);
    if (!this.#resubmits || block === undefined || block.answered || sibling >= this.#sibling) return;
    this.#sibling = sibling;
    if (block.partial !== null) return;
    this.#frames.conservative(block, sibling - block.sequence, this.#copy, (copy) => out.resubmit(copy, false));
  }

  /**
   * Sends the copies again that may have been refused for one which is executed now: all later ones, for the refusal does not
   * say which of them it was. It comes seldom, as copies that nothing delays arrive in order; those that were not refused are
   * recognised as duplicates.
   */
  #resubmitBehindSibling(out: ClientSink): void {
    const { sent } = this.#window;
    const from = this.#sibling;
    this.#sibling = Infinity;
    for (let i = 0; i < sent.size; i++) {
      const block = sent.at(i) as OpenBlock;
      if (block.sequence + block.commands > from) this.#resubmit(block, false, out);
    }
  }

  /** Multicasts the commands of a block again that failed, if that is the client's part. */
  #resubmit(block: OpenBlock, again: boolean, out: ClientSink): void {
    if (!this.#resubmits || block.partial === null) return;
    this.#frames.conservative(block, 0, this.#copy, (copy) => out.resubmit(copy, again));
  }

  #onSessionOpened(now: number, span: Span, out: ClientSink): void {
    const stream = this.#openings.answer(span);
    if (stream === -1) return;
    const session = replySession(span.view, span.start);
    if (stream === this.#stream) return this.#beginSession(now, session, out);
    this.#lent[stream] = session;
    this.#progressed(now);
    out.lend(stream, session);
  }

  #beginSession(now: number, session: SessionId, out: ClientSink): void {
    this.#session = session;
    this.#usedAt = now;
    this.#window.begin(session);
    this.#retryQuietUntil = -Infinity;
    this.#sibling = Infinity;
    this.#progressed(now);
    if (this.#route.settled) this.#pump(now, out);
  }

  #onBorrow(now: number, stream: number, out: ClientSink): void {
    assert(
      this.#stream === 0 && stream > 0 && stream <= 255,
      `stream ${stream} borrows a session of stream ${this.#stream}`,
    );
    this.#endSession(this.#lent[stream] ?? 0, out);
    this.#lent[stream] = 0;
    const opening = this.#openings.begin(stream);
    if (this.#route.settled) this.#send(opening, FrameKind.block, now, out);
    else if (now >= this.#probeAt) this.#probe(now, out);
  }

  #onLend(now: number, session: SessionId, out: ClientSink): void {
    assert(
      this.#stream > 0 && this.#session === 0 && session > 0,
      `session ${session} was lent to one that asks for none`,
    );
    this.#beginSession(now, session, out);
    if (!this.#route.settled && now >= this.#probeAt) this.#probe(now, out);
  }

  /**
   * A conservative block is answered to another stream's client, so that silence here says nothing of the leader. When that client
   * says that nothing came of it, or if no leader is known, every replica gets it: the one that leads takes it, others name that one.
   */
  #onResubmit(now: number, span: Span, again: boolean, out: ClientSink): void {
    assert(this.#stream === 0, `conservative blocks go through g_all, not through stream ${this.#stream}`);
    const { settled, target, linked } = this.#route;
    if (settled && !again) return out.send(target, FrameKind.block, span);
    this.#doubtUntil = now + this.#config.retransmitMs;
    for (const replica of linked) out.send(replica, FrameKind.block, span);
  }

  /**
   * The service misses the commands from `sequence` on. Everything from there goes out again, which covers whatever else
   * was lost by then; every block behind the gap says the same, so after the first the others are not heard for a while.
   */
  #onRetry(now: number, sequence: number, out: ClientSink): void {
    const { sent } = this.#window;
    const head = sent.at(0);
    if (head === undefined || sequence < head.sequence || !this.#route.settled) return;
    if (now < this.#retryQuietUntil) return;
    this.#retryQuietUntil = now + this.#config.retransmitMs / 4;
    for (let i = this.#window.indexFrom(sequence); i < sent.size; i++) {
      const block = sent.at(i) as OpenBlock;
      if (!block.answered) this.#send(block, FrameKind.block, now, out);
    }
  }

  #onExpired(now: number, out: ClientSink): void {
    const { sent, waiting } = this.#window;
    const failed: { token: number; failure: ClientFailure }[] = [];
    for (let block = sent.shift(); block !== undefined; block = sent.shift()) {
      this.#frames.release(block);
      // An earlier copy may have been applied while the session lived.
      if (!block.answered && !block.abandoned) failed.push({ token: block.token, failure: "indeterminate" });
    }
    for (const block of waiting.splice(0)) {
      this.#frames.release(block);
      failed.push({ token: block.token, failure: "session-expired" });
    }
    this.#openSession(now, out);
    for (const { token, failure } of failed) this.#fail(token, failure, out);
  }

  /**
   * The block at `sequence` has commands that its stream does not take. No copy of it is ever executed, so nothing behind it
   * in this session is either, and all of that goes out again in another session. What was before it has been executed,
   * whether or not the replies have come.
   */
  #onMisrouted(now: number, sequence: number, out: ClientSink): void {
    const { sent, waiting } = this.#window;
    const misrouted = this.#window.find(sequence);
    if (misrouted === undefined || misrouted.answered) return;
    const failed: { token: number; failure: ClientFailure }[] = [];
    const again: OpenBlock[] = [];
    for (let block = sent.shift(); block !== undefined; block = sent.shift()) {
      // One that a replica has answered in part is not sent again, whatever another says.
      if (block.sequence > sequence && !block.answered && !block.abandoned && block.partial === null) {
        block.recall();
        again.push(block);
        continue;
      }
      this.#frames.release(block);
      if (block.answered || block.abandoned) continue;
      failed.push({ token: block.token, failure: block === misrouted ? "misrouted" : "indeterminate" });
    }
    waiting.unshift(...again);
    this.#endSession(this.#session, out);
    this.#openSession(now, out);
    for (const { token, failure } of failed) this.#fail(token, failure, out);
  }

  #onRedirect(now: number, from: ReplicaId, leader: ReplicaId, out: ClientSink): void {
    const route = this.#route;
    if (leader !== 0 && !route.knows(leader)) return;
    const fromTarget = from === route.target;
    if (fromTarget) route.quietSince = now;
    // Others are believed while no leader is at hand, or while the one there was is silent although something is open.
    const quiet = now - route.quietSince >= this.#config.retransmitMs / 4;
    const doubted = quiet && (this.#outstanding() || now < this.#doubtUntil);
    if (!fromTarget && route.settled && !doubted) return;
    if (leader === 0) {
      if (fromTarget && route.settled) {
        route.leader = 0;
        this.#probeAt = now + this.#probeDelay();
      }
      return;
    }
    if (leader === from) {
      route.trust(from);
      if (fromTarget && route.settled) {
        // It leads and could not take something: it is asked again after a moment.
        if (this.#resendAt === Infinity && this.#outstanding()) this.#resendAt = now + this.#probeDelay();
        return;
      }
    }
    if (route.isSuspect(leader, now)) return;
    if (route.settled && leader === route.target) return;
    if (route.isUp(leader) && ++this.#redirects > REDIRECTS_MAX) {
      // Replicas that point at each other would otherwise have everything sent back and forth.
      if (route.settled) this.#probeAt = now + this.#probeDelay();
      route.leader = 0;
      route.hint(leader);
      return;
    }
    const wasSettled = route.settled;
    route.follow(leader, now);
    if (route.settled) this.#transmit(now, out);
    else if (wasSettled) this.#probeAt = now + this.#probeDelay();
  }

  #onLink(now: number, replica: ReplicaId, up: boolean, out: ClientSink): void {
    const route = this.#route;
    if (!route.knows(replica)) return;
    if (!(up ? route.linkUp(replica, now) : route.linkDown(replica, now))) return;
    if (route.settled) this.#transmit(now, out);
    else this.#probe(now, out);
  }

  #onTick(now: number, out: ClientSink): void {
    if (now >= this.#deadlineAt) this.#expireDeadlines(now, out);
    if (this.#closed || now < this.#dueAt()) return;
    const route = this.#route;
    if (!route.settled) {
      route.advance(now);
      this.#probe(now, out);
    } else if (now >= this.#resendAt) {
      route.epoch++;
      this.#transmit(now, out);
    } else {
      this.#onTimeout(now, out);
    }
  }

  /** No progress. A target that said something lost a frame; one that said nothing may be gone. */
  #onTimeout(now: number, out: ClientSink): void {
    const route = this.#route;
    const ms = this.#timeoutMs;
    const orderedDue = now >= this.#orderedDueAt();
    const next = Math.min(this.#config.retransmitMsMax, ms * 2);
    this.#timeoutMs = this.#jittered(next);
    if (now - route.quietSince >= ms && this.#owesAnswer()) {
      const before = route.target;
      route.suspect(now, this.#timeoutMs);
      if (route.target === before) {
        // There is nobody else to ask.
        route.follow(before, now);
        this.#transmit(now, out);
      } else this.#probe(now, out);
    } else if (orderedDue) {
      route.epoch++;
      this.#transmit(now, out);
    } else this.#resendReads(now, ms, out);
  }

  /** The target has something to say to what it was sent, unless the oldest block only waits for what others execute. */
  #owesAnswer(): boolean {
    if (this.#openings.pending.length > 0 || this.#reads.size > 0) return true;
    const head = this.#window.sent.at(0);
    return head === undefined || head.partial === null || head.sentAt > this.#route.quietSince;
  }

  #expireDeadlines(now: number, out: ClientSink): void {
    const failed: { token: number; failure: ClientFailure }[] = [];
    const { sent, waiting } = this.#window;
    let earliest = Infinity;
    const expired = (block: OpenBlock): boolean => {
      if (block.deadline > now) earliest = Math.min(earliest, block.deadline);
      return block.deadline <= now;
    };
    for (let i = 0; i < sent.size; i++) {
      const block = sent.at(i) as OpenBlock;
      if (block.answered || block.abandoned || !expired(block)) continue;
      block.abandoned = true;
      failed.push({ token: block.token, failure: "indeterminate" });
    }
    let kept = 0;
    for (const block of waiting) {
      if (expired(block)) {
        this.#frames.release(block);
        failed.push({ token: block.token, failure: "try-again" });
      } else waiting[kept++] = block;
    }
    waiting.length = kept;
    for (const block of this.#reads.values()) {
      if (!expired(block)) continue;
      this.#reads.delete(block.sequence);
      this.#frames.release(block);
      failed.push({ token: block.token, failure: "try-again" });
    }
    this.#deadlineAt = earliest;
    for (const { token, failure } of failed) this.#fail(token, failure, out);
  }

  #onClose(out: ClientSink): void {
    this.#closed = true;
    const tokens: number[] = [];
    const { sent, waiting } = this.#window;
    for (let i = 0; i < sent.size; i++) {
      const block = sent.at(i) as OpenBlock;
      if (!block.answered && !block.abandoned) tokens.push(block.token);
    }
    for (const block of waiting) tokens.push(block.token);
    for (const block of this.#reads.values()) tokens.push(block.token);
    tokens.push(...this.#rests.keys());
    sent.clear();
    waiting.length = 0;
    this.#reads.clear();
    this.#rests.clear();
    this.#endSession(this.#session, out);
    for (const session of this.#lent) this.#endSession(session ?? 0, out);
    Object.assign(this.#view, { session: 0, open: false, blocksOpen: 0, bytesOpen: 0 });
    out.wakeAt(Infinity);
    for (const token of tokens) out.fail(token, "closed");
  }

  // Sessions.

  #openSession(now: number, out: ClientSink): void {
    this.#session = 0;
    if (this.#stream > 0) return out.borrow();
    this.#openings.begin(this.#stream);
    if (this.#route.settled) this.#transmit(now, out);
    else if (now >= this.#probeAt) this.#probe(now, out);
  }

  /** Tells the service that a session is over, unless it was borrowed. Lost or not does not matter: it would expire. */
  #endSession(session: SessionId, out: ClientSink): void {
    if (session === 0 || this.#stream > 0 || this.#route.target === 0) return;
    const block = this.#frames.frame(BlockKind.closeSession, 0, 0, emptySpan, Infinity);
    stampBlock(block.view, 0, session, 0, 0);
    out.send(this.#route.target, FrameKind.block, block);
    this.#frames.release(block);
  }

  // Sending.

  #send(block: OpenBlock, kind: number, now: number, out: ClientSink): void {
    block.sentAt = now;
    block.epoch = this.#route.epoch;
    out.send(this.#route.target, kind, block);
  }

  /** Brings the leader up to date: everything unanswered that it was not sent in this epoch, in order. */
  #transmit(now: number, out: ClientSink): void {
    this.#resendAt = Infinity;
    this.#sibling = Infinity;
    const { epoch } = this.#route;
    const { sent } = this.#window;
    for (const opening of this.#openings.pending) {
      if (opening.epoch !== epoch) this.#send(opening, FrameKind.block, now, out);
    }
    for (let i = 0; i < sent.size; i++) {
      const block = sent.at(i) as OpenBlock;
      if (block.answered || block.epoch === epoch) continue;
      this.#send(block, FrameKind.block, now, out);
      this.#resubmit(block, true, out);
    }
    this.#pump(now, out);
    for (const block of this.#reads.values()) {
      if (block.epoch !== epoch) this.#send(block, FrameKind.read, now, out);
    }
  }

  /** Numbers and sends what waits, unless the session was idle for so long that it may be gone. */
  #pump(now: number, out: ClientSink): void {
    const { waiting, sent } = this.#window;
    if (this.#session === 0 || waiting.length === 0) return;
    if (sent.size === 0 && now - this.#usedAt > this.#config.sessionIdleMs) {
      this.#endSession(this.#session, out);
      this.#openSession(now, out);
      return;
    }
    this.#usedAt = now;
    while (waiting.length > 0) this.#send(this.#window.stampNext(), FrameKind.block, now, out);
  }

  /** Sends the oldest open block alone, to learn from the answer who leads. */
  #probe(now: number, out: ClientSink): void {
    if (this.#route.target === 0) return;
    const { sent, waiting } = this.#window;
    const stale = sent.size === 0 && now - this.#usedAt > this.#config.sessionIdleMs;
    if (this.#session > 0 && waiting.length > 0 && stale) {
      this.#probeAt = now;
      return this.#openSession(now, out);
    }
    if (!this.#outstanding()) return;
    this.#probeAt = now + this.#probeDelay();
    const opening = this.#openings.pending[0];
    if (opening !== undefined) return this.#send(opening, FrameKind.block, now, out);
    const head = sent.at(0);
    if (head !== undefined) return this.#send(head, FrameKind.block, now, out);
    if (this.#session > 0 && waiting.length > 0) {
      this.#usedAt = now;
      return this.#send(this.#window.stampNext(), FrameKind.block, now, out);
    }
    for (const block of this.#reads.values()) return this.#send(block, FrameKind.read, now, out);
  }

  #resendReads(now: number, ms: number, out: ClientSink): void {
    for (let left = this.#reads.size; left > 0; left--) {
      const [block] = this.#reads.values();
      if (block === undefined || now - block.sentAt < ms) return;
      this.#reads.delete(block.sequence);
      this.#reads.set(block.sequence, block);
      this.#send(block, FrameKind.read, now, out);
    }
  }

  // The caller may submit inside these, so the view is current and nothing of the block is touched afterwards.

  #resolve(token: number, replies: Span, out: ClientSink): void {
    this.#refresh();
    out.resolve(token, replies);
  }

  #fail(token: number, failure: ClientFailure, out: ClientSink): void {
    this.#refresh();
    out.fail(token, failure);
  }

  // Time.

  #progressed(now: number): void {
    this.#movedAt = now;
    this.#redirects = 0;
    this.#probeMs = this.#config.probeMs;
    if (this.#timeoutMs > this.#config.retransmitMs * 1.2) this.#timeoutMs = this.#jittered(this.#config.retransmitMs);
  }

  #jittered(ms: number): number {
    return ms * (1 + this.#prng.float() * 0.2);
  }

  #probeDelay(): number {
    const ms = this.#probeMs;
    this.#probeMs = Math.min(this.#config.probeMsMax, ms * 2);
    return this.#jittered(ms);
  }

  /** Something may be sent. What waits for a session to be lent may not. */
  #outstanding(): boolean {
    if (this.#openings.pending.length > 0 || this.#reads.size > 0) return true;
    return this.#session > 0 && this.#window.size > 0;
  }

  /** When something has to be sent although nothing happens. */
  #dueAt(): number {
    if (this.#route.target === 0 || !this.#outstanding()) return Infinity;
    if (!this.#route.settled) return this.#probeAt;
    let due = Math.min(this.#resendAt, this.#orderedDueAt());
    for (const block of this.#reads.values()) {
      due = Math.min(due, block.sentAt + this.#timeoutMs);
      break;
    }
    return due;
  }

  #orderedDueAt(): number {
    const opening = this.#openings.pending[0];
    const head = this.#window.sent.at(0);
    const openingDue = opening === undefined ? Infinity : opening.sentAt + this.#timeoutMs;
    const headDue = head === undefined ? Infinity : Math.max(head.sentAt, this.#movedAt) + this.#timeoutMs;
    return Math.min(openingDue, headDue);
  }

  #refresh(): void {
    if (this.#closed) return;
    const view = this.#view;
    view.session = this.#session;
    view.leader = this.#route.leader;
    view.blocksOpen = this.#window.size + this.#reads.size + this.#rests.size;
    view.bytesOpen = this.#frames.bytesOpen;
    view.open = view.blocksOpen < this.#config.blocksMax && view.bytesOpen < this.#config.bytesMax;
  }
}
