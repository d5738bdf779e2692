// Hot file: every frame of the clients that share a connection passes here. No allocation per frame.
import { assert, type ByteWriter, latin1 } from "../../base/index.js";
import {
  BLOCK_HEADER_BYTES,
  BlockKind,
  blockKind,
  blockSession,
  ConfigError,
  FrameKind,
  REPLY_HEADER_BYTES,
  type ReplicaId,
  replyKind,
  replySession,
  ReplyStatus,
  replyStatus,
  type SessionId,
  stampReader,
} from "../../model/index.js";
import type { FrameHandlers, FramePort, Scheduler, Turn } from "../../platform/index.js";

/** What a client needs of the port that leads to its replicas. Link numbers are replica ids. */
export type ClientPort = Pick<FramePort, "start" | "begin" | "end" | "flush" | "close">;

/** Clients that share one port at most: a redirect or a lost link is told to each of them in one turn. */
export const SHARING_CLIENTS_MAX = 4096;
/** Openings of one client that replies are told by, the latest: it has one under way for each stream. */
const NONCES_MAX = 64;

const NONCE_BYTES = 16;

/**
 * Lets several clients use one connection to each replica, so that what all of them send in a turn is one write, and what
 * they are answered in a turn is one read. Who gets a reply is told
 *
 * - of ordered commands by their session, which is noted as they leave;
 * - of a session's opening by its nonce, which is noted as the opening leaves;
 * - of unordered reads by the session field of the reply. A block of reads belongs to no session, and replicas return the
 *   field as it came, so it carries the number of the client on this port.
 *
 * A reply to a session's end finds nobody; no client waits for one. Everything else (links, redirects, drains) concerns all clients. Clients may come and go at any time; the port closes with
 * the last of them.
 */
export class SharedLinks {
  readonly #port: ClientPort;
  readonly #scheduler: Scheduler;
  readonly #tellNewcomers: Turn;
  /** By number. Numbers rise and are never reused: a reply to a client that has closed finds nobody. */
  readonly #seats = new Map<number, Seat>();
  readonly #bySession = new Map<SessionId, Seat>();
  readonly #byNonce = new Map<string, Seat>();
  readonly #up = new Set<ReplicaId>();
  #lastNumber = 0;
  #started = false;
  #closed = false;

  /** `port` is started with the first client; its link numbers are replica ids. */
  constructor(port: ClientPort, scheduler: Scheduler) {
    this.#port = port;
    this.#scheduler = scheduler;
    this.#tellNewcomers = scheduler.turn(() => {
      for (const seat of this.#seats.values()) {
        if (seat.handlers === null || seat.told) continue;
        seat.told = true;
        for (const replica of this.#up) seat.handlers?.onLink(replica, true);
      }
    });
  }

  /** It closed with its last client, and takes no more. */
  get closed(): boolean {
    return this.#closed;
  }

  /** A port of one more client. Throws `ConfigError` when there are `SHARING_CLIENTS_MAX`. */
  seat(): ClientPort {
    assert(!this.#closed, "a client came to a port that closed with its last client");
    if (this.#seats.size >= SHARING_CLIENTS_MAX) {
      throw new ConfigError(`a connection takes at most ${SHARING_CLIENTS_MAX} clients, and has ${this.#seats.size}`);
    }
    const seat = new Seat(this, this.#port, ++this.#lastNumber);
    this.#seats.set(seat.number, seat);
    return seat;
  }

  /** The seat has handlers now; it hears of the links that are up in a turn of its own. */
  start(): void {
    this.#tellNewcomers.request();
    if (this.#started) return;
    this.#started = true;
    this.#port.start({
      onLink: (replica, up) => {
        if (up) this.#up.add(replica);
        else this.#up.delete(replica);
        for (const seat of this.#seats.values()) if (seat.told) seat.handlers?.onLink(replica, up);
      },
      onFrame: (replica, kind, bytes, view, start, end) => {
        if (kind === FrameKind.reply) {
          this.#recipient(bytes, view, start, end)?.handlers?.onFrame(replica, kind, bytes, view, start, end);
          return;
        }
        for (const seat of this.#seats.values()) {
          if (seat.told) seat.handlers?.onFrame(replica, kind, bytes, view, start, end);
        }
      },
      onDrain: (replica) => {
        for (const seat of this.#seats.values()) if (seat.told) seat.handlers?.onDrain(replica);
      },
    });
  }

  /** A session's opening leaves for a replica: the reply that repeats its nonce is this client's. */
  noteOpening(seat: Seat, nonce: string): void {
    if (seat.nonces.size >= NONCES_MAX && !seat.nonces.has(nonce)) {
      for (const oldest of seat.nonces) {
        seat.nonces.delete(oldest);
        this.#byNonce.delete(oldest);
        break;
      }
    }
    seat.nonces.add(nonce);
    this.#byNonce.set(nonce, seat);
  }

  /** Commands leave in a session: replies that name it are this client's, and what it had before is over. */
  noteSession(seat: Seat, session: SessionId): void {
    this.#bySession.delete(seat.session);
    seat.session = session;
    this.#bySession.set(session, seat);
  }

  leave(seat: Seat, done: () => void): void {
    this.#seats.delete(seat.number);
    for (const nonce of seat.nonces) this.#byNonce.delete(nonce);
    this.#bySession.delete(seat.session);
    if (this.#seats.size === 0) {
      this.#closed = true;
      if (this.#started) this.#port.flush();
      this.#port.close(done);
      return;
    }
    this.#port.flush();
    this.#scheduler.turn(done).request();
  }

  /** The client that waits for a reply; undefined if it has closed or the session is not one of ours. */
  #recipient(bytes: Uint8Array, view: DataView, start: number, end: number): Seat | undefined {
    if (end - start < REPLY_HEADER_BYTES) {
      // Malformed: any client can say so.
      for (const seat of this.#seats.values()) return seat;
      return undefined;
    }
    const kind = replyKind(view, start);
    if (kind === BlockKind.read) return this.#seats.get(replySession(view, start));
    if (kind === BlockKind.openSession) return this.#opened(bytes, view, start, end);
    return this.#bySession.get(replySession(view, start));
  }

  #opened(bytes: Uint8Array, view: DataView, start: number, end: number): Seat | undefined {
    const at = start + REPLY_HEADER_BYTES;
    if (end - at !== NONCE_BYTES || replyStatus(view, start) !== ReplyStatus.ok) return undefined;
    const nonce = latin1(bytes, at, end);
    const seat = this.#byNonce.get(nonce);
    if (seat === undefined) return undefined;
    // An opening that was sent twice may open two sessions. The client takes the one it hears of first, and so does this.
    this.#byNonce.delete(nonce);
    seat.nonces.delete(nonce);
    return seat;
  }
}

/** One client's place at a shared port. */
class Seat implements ClientPort {
  readonly number: number;
  /** Null until it starts, and again once it has closed. */
  handlers: FrameHandlers | null = null;
  /** It knows which links are up, and hears of every change. */
  told = false;
  /** The session of the latest commands that left, 0 before. */
  session: SessionId = 0;
  /** Those of its openings that are unanswered, the oldest first. */
  readonly nonces = new Set<string>();
  readonly #shared: SharedLinks;
  readonly #port: ClientPort;
  #writer: ByteWriter | null = null;
  #at = 0;
  #kind = 0;

  constructor(shared: SharedLinks, port: ClientPort, number: number) {
    this.#shared = shared;
    this.#port = port;
    this.number = number;
  }

  start(handlers: FrameHandlers): void {
    assert(this.handlers === null, "a port is started once");
    this.handlers = handlers;
    this.#shared.start();
  }

  begin(link: ReplicaId, kind: number): ByteWriter | null {
    const writer = this.#port.begin(link, kind);
    this.#writer = writer;
    if (writer === null) return null;
    this.#at = writer.length;
    this.#kind = kind;
    return writer;
  }

  end(): void {
    const writer = this.#writer;
    assert(writer !== null, "the end of a frame that was not begun");
    const { bytes, view } = writer;
    const at = this.#at;
    if (this.#kind === FrameKind.read) stampReader(view, at, this.number);
    else if (this.#kind === FrameKind.block) {
      const kind = blockKind(view, at);
      if (kind === BlockKind.commands) {
        const session = blockSession(view, at);
        if (session !== this.session) this.#shared.noteSession(this, session);
      } else if (kind === BlockKind.openSession) {
        const nonceAt = at + BLOCK_HEADER_BYTES;
        this.#shared.noteOpening(this, latin1(bytes, nonceAt, nonceAt + NONCE_BYTES));
      }
    }
    this.#port.end();
  }

  flush(): void {
    this.#port.flush();
  }

  close(done: () => void): void {
    this.handlers = null;
    this.#shared.leave(this, done);
  }
}
