// Hot file: every block of a client and every reply passes here. Allocations per block only.
import { assert } from "../../base/index.js";
import { createSessionClient, type SessionClientConfig } from "../../client/index.js";
import {
  checkReply,
  type ClientEvent,
  type ClientFailure,
  type ClientModel,
  type ClientSink,
  FrameKind,
  type ReplicaId,
  type SessionId,
  type Span,
} from "../../model/index.js";
import type { EventLog, Scheduler, Timer, Turn } from "../../platform/index.js";
import type { BlockClient, BlockClientHandlers } from "./block-client.js";
import type { ClientPort } from "./shared-links.js";

export interface BlockClientInit {
  readonly scheduler: Scheduler;
  /** Link numbers are replica ids. The client starts it and closes it. */
  readonly port: ClientPort;
  /** All replicas of the cluster. */
  readonly replicas: readonly ReplicaId[];
  /** 16 random bytes that no other client has. */
  readonly nonce: Uint8Array;
  /** How long a block may go without an answer, unless its `submit` says otherwise. 5000 ms. */
  readonly deadlineMs?: number;
  readonly handlers: BlockClientHandlers;
  readonly events: EventLog;
  readonly config?: Partial<SessionClientConfig>;
  /** With groups: who multicasts commands again that failed opt-PSMR's safety check, as the cluster has it. The replicas. */
  readonly resubmit?: "replicas" | "client" | undefined;
  /** With groups: blocks of a stream take effect in order although commands fail that safety check. Not by default. */
  readonly strict?: boolean | undefined;
}

/** Malformed frames that get a line in the log; a broken replica must not fill it. */
const COMPLAINTS_MAX = 10;

/** Drives a session client with a port and a clock. Throws `ConfigError` for a configuration out of bounds. */
export function createBlockClient(init: BlockClientInit): BlockClient {
  const host = new ClientHost(init, alone);
  host.start();
  return host;
}

/** The clients of a cluster's streams, as one of them sees the others. */
export interface Lenders {
  readonly stream: number;
  /** Whether there are unordered reads; otherwise what is submitted as one is ordered. */
  readonly reads: boolean;
  borrow(): void;
  lend(stream: number, session: SessionId): void;
  /** Sends a conservative block through g_all. */
  resubmit(block: Span, again: boolean): void;
}

const alone: Lenders = {
  stream: 0,
  reads: true,
  borrow: () => assert(false, "this client has one stream"),
  lend: () => assert(false, "this client has one stream"),
  resubmit: () => assert(false, "this client has one stream"),
};

/** The host of one session client: of a cluster, or of one of its streams. */
export class ClientHost implements BlockClient, ClientSink {
  readonly #lenders: Lenders;
  readonly #model: ClientModel;
  readonly #port: ClientPort;
  readonly #scheduler: Scheduler;
  readonly #handlers: BlockClientHandlers;
  readonly #events: EventLog;
  readonly #deadlineMs: number;
  readonly #timer: Timer;
  readonly #flush: Turn;
  /** Links on which a frame was lost because they were full; what was lost is sent again when they drain. */
  readonly #overflowed = new Set<ReplicaId>();
  #leader: ReplicaId = 0;
  #idle = true;
  #complaints = 0;
  #closed = false;

  constructor(init: BlockClientInit, lenders: Lenders) {
    const { nonce } = init;
    const { stream } = lenders;
    assert(nonce.length === 16, `a nonce has 16 bytes, got ${nonce.length}`);
    const seed = new DataView(nonce.buffer, nonce.byteOffset).getUint32(0, true) + stream;
    this.#lenders = lenders;
    this.#model = createSessionClient({ ...init, stream }, { seed, ...init.config });
    this.#port = init.port;
    this.#scheduler = init.scheduler;
    this.#handlers = init.handlers;
    this.#events = init.events;
    this.#deadlineMs = init.deadlineMs ?? 5000;
    this.#timer = init.scheduler.timer(() => this.#step({ kind: "tick", now: this.#now() }));
    this.#flush = init.scheduler.turn(() => {
      if (!this.#closed) this.#port.flush();
    });
  }

  start(): void {
    this.#port.start({
      onLink: (link, up) => {
        this.#overflowed.delete(link);
        this.#step({ kind: "link", now: this.#now(), replica: link, up });
      },
      onFrame: (link, kind, bytes, view, start, end) => this.#onFrame(link, kind, bytes, view, start, end),
      onDrain: (link) => {
        if (this.#overflowed.delete(link)) this.#step({ kind: "link", now: this.#now(), replica: link, up: true });
      },
    });
    this.#step({ kind: "start", now: this.#now() });
  }

  get open(): boolean {
    return this.#model.inspect().open;
  }

  get session(): SessionId {
    return this.#model.inspect().session;
  }

  get leader(): ReplicaId {
    return this.#model.inspect().leader;
  }

  get blocksOpen(): number {
    return this.#model.inspect().blocksOpen;
  }

  submit(
    token: number,
    read: boolean,
    commands: number,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    deadline?: number,
  ): void {
    assert(!this.#closed, "a block was submitted to a closed client");
    const now = this.#now();
    const span = { bytes, view, start, end };
    const unordered = read && this.#lenders.reads;
    this.#step({
      kind: "submit",
      now,
      token,
      read: unordered,
      commands,
      span,
      deadline: deadline ?? now + this.#deadlineMs,
    });
  }

  more(token: number, deadline?: number): void {
    assert(!this.#closed, "more was asked of a closed client");
    const now = this.#now();
    this.#step({ kind: "more", now, token, deadline: deadline ?? now + this.#deadlineMs });
  }

  /** Of stream 0: opens a session for this stream. */
  openSessionFor(stream: number): void {
    this.#step({ kind: "borrow", now: this.#now(), stream });
  }

  /** Of another stream: the session that was opened for it. */
  takeSession(session: SessionId): void {
    this.#step({ kind: "lend", now: this.#now(), session });
  }

  /** Of stream 0: sends a conservative block of another stream's session. */
  sendConservative(span: Span, again: boolean): void {
    this.#step({ kind: "resubmit", now: this.#now(), span, again });
  }

  close(done: () => void): void {
    assert(!this.#closed, "a client is closed once");
    this.#model.step({ kind: "close", now: this.#now() }, this);
    this.#closed = true;
    this.#timer.clear();
    this.#port.flush();
    this.#port.close(done);
  }

  // What the model asks for.

  send(to: ReplicaId, kind: number, span: Span): void {
    const writer = this.#port.begin(to, kind);
    if (writer === null) {
      this.#overflowed.add(to);
      return;
    }
    writer.copy(span.bytes, span.start, span.end);
    this.#port.end();
    this.#flush.request();
  }

  resolve(token: number, replies: Span): void {
    this.#handlers.resolve(token, replies);
  }

  fail(token: number, failure: ClientFailure): void {
    this.#handlers.fail(token, failure);
  }

  predict(): void {
    assert(false, "this client does not predict");
  }

  rollback(): void {
    assert(false, "this client does not predict");
  }

  borrow(): void {
    this.#lenders.borrow();
  }

  lend(stream: number, session: SessionId): void {
    this.#lenders.lend(stream, session);
  }

  pending(token: number, commands: number, replies: Span): void {
    this.#handlers.pending?.(token, commands, replies);
  }

  resubmit(block: Span, again: boolean): void {
    this.#lenders.resubmit(block, again);
  }

  wakeAt(time: number): void {
    if (time === Infinity) this.#timer.clear();
    else this.#timer.set(time);
  }

  opened(): void {
    this.#handlers.opened();
  }

  // What comes in.

  #onFrame(link: number, kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): void {
    if (kind === FrameKind.reply) {
      if (checkReply(view, start, end) !== end - start) return this.#complain(link, kind);
      this.#step({ kind: "reply", now: this.#now(), from: link, span: { bytes, view, start, end } });
    } else if (kind === FrameKind.redirect) {
      if (end - start < 4) return this.#complain(link, kind);
      this.#step({ kind: "redirect", now: this.#now(), from: link, leader: view.getUint32(start, true) });
    } else if (kind === FrameKind.welcome) {
      if (end - start < 8 || view.getUint32(start, true) !== link) return this.#complain(link, kind);
      this.#step({ kind: "redirect", now: this.#now(), from: link, leader: view.getUint32(start + 4, true) });
    }
  }

  #complain(link: number, kind: number): void {
    if (++this.#complaints > COMPLAINTS_MAX) return;
    this.#events.warn("client-frame-malformed", { replica: link, kind });
  }

  #step(event: ClientEvent): void {
    if (this.#closed) return;
    this.#model.step(event, this);
    const { leader, blocksOpen } = this.#model.inspect();
    if (this.#closed) return;
    if (leader !== this.#leader) {
      this.#leader = leader;
      this.#handlers.leaderChanged?.(leader);
    }
    const idle = blocksOpen === 0;
    if (idle === this.#idle) return;
    this.#idle = idle;
    if (idle) this.#handlers.idle?.();
  }

  #now(): number {
    return this.#scheduler.clock.monotonicMs();
  }
}
