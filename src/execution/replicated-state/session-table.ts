// Hot file: each ordered block passes here once. One copy of its reply block and nothing else is allocated.
import { assert, hashLong, mix32 } from "../../base/index.js";
import type { Position, SessionId } from "../../model/index.js";
import type { ReplicatedStateOptions } from "./config.js";
import { ConflictIndex } from "./conflict-index.js";
import { firstFrom, LateReply, type PendingCommand } from "./failed.js";
import { LaneSum } from "./lane-sum.js";
import { RememberedReply, Session } from "./session.js";

/**
 * The sessions of a cluster, in order of activity, with a digest that follows each change. Whatever this table forgets
 * (expired sessions, old replies), it forgets at the same log position on every replica.
 */
export class SessionTable {
  readonly #options: ReplicatedStateOptions;
  readonly #sessions = new Map<SessionId, Session>();
  readonly #sum = new LaneSum();
  #epoch = 0;
  /** Ends of the list by activity. */
  #idlest: Session | null = null;
  #latest: Session | null = null;
  /** Ends of the list of all remembered replies by age, and their bytes. */
  #oldestReply: RememberedReply | null = null;
  #newestReply: RememberedReply | null = null;
  #replyBytes = 0;
  /** Pending commands of all sessions, and late replies with their bytes. */
  #pending = 0;
  #late = 0;
  #lateBytes = 0;

  constructor(options: ReplicatedStateOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Bytes of all remembered reply blocks. */
  get replyBytes(): number {
    return this.#replyBytes;
  }

  /** Commands of all sessions that failed and have not been executed since. */
  get pending(): number {
    return this.#pending;
  }

  /** Remembered replies to those that have. */
  get late(): number {
    return this.#late;
  }

  /** Bytes of all remembered late replies. */
  get lateBytes(): number {
    return this.#lateBytes;
  }

  /** Four signed lanes of digest over all sessions and what is remembered for them. */
  get lanes(): Int32Array {
    return this.#sum.lanes;
  }

  find(id: SessionId): Session | undefined {
    return this.#sessions.get(id);
  }

  /** The session that has been idle for longest. */
  get idlest(): Session | null {
    return this.#idlest;
  }

  get full(): boolean {
    return this.#sessions.size >= this.#options.sessionsMax;
  }

  /** The most that is remembered for one session, of each kind. Looks at all sessions. */
  fullest(): {
    readonly replies: number;
    readonly bytes: number;
    readonly pending: number;
    readonly late: number;
    readonly lateBytes: number;
  } {
    let replies = 0;
    let bytes = 0;
    let pending = 0;
    let late = 0;
    let lateBytes = 0;
    for (let session = this.#idlest; session !== null; session = session.newer) {
      replies = Math.max(replies, session.replies.length);
      bytes = Math.max(bytes, session.replyBytes);
      pending = Math.max(pending, session.pending.length);
      late = Math.max(late, session.late.length);
      lateBytes = Math.max(lateBytes, session.lateBytes);
    }
    return { replies, bytes, pending, late, lateBytes };
  }

  /**
   * Whether `count` commands of a session may fail without a limit being exceeded; the first that fail always may. Only what is
   * pending counts: that there is room again must not depend on later blocks of the session, which wait for it.
   */
  hasRoomForFailed(session: Session, count: number): boolean {
    const { sessionFailedMax, failedMax } = this.#options;
    return (
      (session.pending.length === 0 || session.pending.length + count <= sessionFailedMax) &&
      (this.#pending === 0 || this.#pending + count <= failedMax)
    );
  }

  /**
   * Opens a session whose id is its log position. Only when the table is not full. `position` is that of the opening in the
   * order by which this table counts activity, if that is another log.
   */
  open(id: SessionId, time: number, position: Position = id): void {
    assert(!this.full, `the session table is full at ${this.#options.sessionsMax}`);
    assert(!this.#sessions.has(id), `session ${id} is open already`);
    this.#insert(new Session(id, this.#epoch, time, position));
  }

  /** Forgets a session and everything remembered for it. */
  remove(session: Session): void {
    for (const reply of session.replies) this.#forget(reply);
    if (session.failed > 0) this.#countFailed(session, -1);
    this.#foldSession(session, -1);
    this.#unlink(session);
    this.#sessions.delete(session.id);
  }

  /**
   * Records a block of the session: `last` is the sequence number executed through, replies through `acknowledged` are
   * freed. Returns the session, which is another object if a snapshot still shows the old one.
   */
  advance(session: Session, last: number, acknowledged: number, time: number, position: Position): Session {
    this.#foldSession(session, -1);
    const own = this.#own(session);
    own.last = last;
    own.activeAt = time;
    own.activePosition = position;
    this.#foldSession(own, 1);
    if (this.#latest !== own) {
      this.#unlink(own);
      this.#link(own);
    }
    while (own.replies.length > 0 && (own.replies[0] as RememberedReply).last <= acknowledged) this.#dropOldest(own);
    if (own.failed > 0) this.#freeFailed(own, acknowledged);
    return own;
  }

  /** Notes that a command of a session returned by `advance` has failed; those of a session come in order. */
  addPending(session: Session, command: PendingCommand): void {
    assert(session.epoch === this.#epoch, "a session that a snapshot shows was changed");
    const newest = session.pending[session.pending.length - 1];
    assert(newest === undefined || newest.sequence < command.sequence, "commands fail in the order of their session");
    if (newest === undefined) session.pending = [command];
    else session.pending.push(command);
    session.conflicts ??= new ConflictIndex();
    session.conflicts.add(command);
    this.#pending++;
    this.#foldPending(command, 1);
  }

  /**
   * Notes that a pending command of a session was executed, and remembers a copy of its reply `bytes[at, end)` within the limits:
   * in the place of the session's first ones, and not at all if there is no room among all sessions. Returns the session, which
   * is another object if a snapshot still shows the old one.
   */
  execute(session: Session, pendingAt: number, bytes: Uint8Array, at: number, end: number): Session {
    const own = this.#own(session);
    // Copies come in order as a rule, and taking the first of many costs less than taking one out.
    const first = pendingAt === 0;
    const command = (first ? own.pending.shift() : own.pending.splice(pendingAt, 1)[0]) as PendingCommand;
    own.conflicts?.remove(command);
    this.#pending--;
    this.#foldPending(command, -1);
    const { sessionFailedMax, sessionReplyBytesMax, failedMax, replyBytesMax } = this.#options;
    const length = end - at;
    if (length > sessionReplyBytesMax) return own;
    let forgotten = own.late.length >= sessionFailedMax ? 1 : 0;
    let left = own.lateBytes + length - (forgotten === 0 ? 0 : (own.late[0] as LateReply).bytes.length);
    for (; left > sessionReplyBytesMax; forgotten++) left -= (own.late[forgotten] as LateReply).bytes.length;
    this.#forgetLate(own, forgotten);
    if (this.#late >= failedMax || this.#lateBytes + length > replyBytesMax) return own;
    const copy = bytes.slice(at, end);
    const late = new LateReply(own.id, command.sequence, copy, hashLong(copy, 0, length, 7));
    if (own.late.length === 0) own.late = [late];
    else own.late.splice(firstFrom(own.late, late.sequence), 0, late);
    own.lateBytes += length;
    this.#late++;
    this.#lateBytes += length;
    this.#foldLate(late, 1);
    return own;
  }

  /** Remembers a copy of the reply block `bytes[at, end)` of a session returned by `advance`, within the limits. */
  remember(
    session: Session,
    first: number,
    count: number,
    position: Position,
    bytes: Uint8Array,
    at: number,
    end: number,
  ): void {
    assert(session.epoch === this.#epoch, "a session that a snapshot shows was changed");
    const copy = bytes.slice(at, end);
    this.#append(
      session,
      new RememberedReply(session.id, first, count, position, copy, hashLong(copy, 0, copy.length, 7)),
    );
    const { sessionRepliesMax, sessionReplyBytesMax, replyBytesMax } = this.#options;
    const { replies } = session;
    while (replies.length > 1 && (replies.length > sessionRepliesMax || session.replyBytes > sessionReplyBytesMax)) {
      this.#dropOldest(session);
    }
    while (this.#replyBytes > replyBytesMax && this.#oldestReply !== this.#newestReply) {
      const oldest = this.#oldestReply as RememberedReply;
      this.#dropOldest(this.#own(this.#sessions.get(oldest.session) as Session));
    }
  }

  /** All sessions as they are now, least recently active first. Later changes replace the objects rather than alter them. */
  mark(): Session[] {
    this.#epoch++;
    const marked: Session[] = [];
    for (let session = this.#idlest; session !== null; session = session.newer) marked.push(session);
    return marked;
  }

  /** Takes over sessions of a snapshot, least recently active first, none of which is known yet. */
  adopt(sessions: readonly Session[]): void {
    assert(this.#sessions.size === 0, "sessions are adopted into an empty table only");
    const replies: { readonly owner: Session; readonly reply: RememberedReply }[] = [];
    for (const session of sessions) {
      const own = new Session(session.id, this.#epoch, session.activeAt, session.activePosition);
      own.last = session.last;
      this.#insert(own);
      if (session.failed > 0) this.#adoptFailed(own, session);
      for (const reply of session.replies) replies.push({ owner: own, reply });
    }
    // The list by age runs through all sessions; within each session, too, positions ascend.
    replies.sort((a, b) => a.reply.position - b.reply.position);
    for (const { owner, reply } of replies) this.#append(owner, reply);
  }

  #insert(session: Session): void {
    this.#sessions.set(session.id, session);
    this.#link(session);
    this.#foldSession(session, 1);
  }

  /** The session itself, or a copy in its place if a snapshot may still show it. */
  #own(session: Session): Session {
    if (session.epoch === this.#epoch) return session;
    const own = new Session(session.id, this.#epoch, session.activeAt, session.activePosition);
    own.last = session.last;
    own.replies = session.replies.slice();
    own.replyBytes = session.replyBytes;
    if (session.failed > 0) {
      own.pending = session.pending.slice();
      own.late = session.late.slice();
      own.lateBytes = session.lateBytes;
    }
    // A snapshot does not look at it.
    own.conflicts = session.conflicts;
    session.conflicts = null;
    own.older = session.older;
    own.newer = session.newer;
    if (own.older === null) this.#idlest = own;
    else own.older.newer = own;
    if (own.newer === null) this.#latest = own;
    else own.newer.older = own;
    // A snapshot holds on to the old object: that must not hold on to its neighbours.
    session.older = null;
    session.newer = null;
    this.#sessions.set(own.id, own);
    return own;
  }

  #link(session: Session): void {
    session.older = this.#latest;
    session.newer = null;
    if (this.#latest === null) this.#idlest = session;
    else this.#latest.newer = session;
    this.#latest = session;
  }

  #unlink(session: Session): void {
    if (session.older === null) this.#idlest = session.newer;
    else session.older.newer = session.newer;
    if (session.newer === null) this.#latest = session.older;
    else session.newer.older = session.older;
    session.older = null;
    session.newer = null;
  }

  #append(session: Session, reply: RememberedReply): void {
    session.replies.push(reply);
    session.replyBytes += reply.bytes.length;
    this.#replyBytes += reply.bytes.length;
    reply.older = this.#newestReply;
    if (this.#newestReply === null) this.#oldestReply = reply;
    else this.#newestReply.newer = reply;
    this.#newestReply = reply;
    this.#foldReply(reply, 1);
  }

  #dropOldest(session: Session): void {
    const reply = session.replies.shift() as RememberedReply;
    session.replyBytes -= reply.bytes.length;
    this.#forget(reply);
  }

  #forget(reply: RememberedReply): void {
    if (reply.older === null) this.#oldestReply = reply.newer;
    else reply.older.newer = reply.newer;
    if (reply.newer === null) this.#newestReply = reply.older;
    else reply.newer.older = reply.older;
    reply.older = null;
    reply.newer = null;
    this.#replyBytes -= reply.bytes.length;
    this.#foldReply(reply, -1);
  }

  /** Frees what failed, through `acknowledged`. */
  #freeFailed(own: Session, acknowledged: number): void {
    const count = firstFrom(own.pending, acknowledged + 1);
    for (let i = 0; i < count; i++) {
      const command = own.pending[i] as PendingCommand;
      own.conflicts?.remove(command);
      this.#foldPending(command, -1);
    }
    if (count > 0) own.pending.splice(0, count);
    this.#pending -= count;
    this.#forgetLate(own, firstFrom(own.late, acknowledged + 1));
  }

  /** Forgets the first late replies of a session. */
  #forgetLate(own: Session, count: number): void {
    if (count === 0) return;
    for (let i = 0; i < count; i++) {
      const late = own.late[i] as LateReply;
      this.#foldLate(late, -1);
      own.lateBytes -= late.bytes.length;
      this.#lateBytes -= late.bytes.length;
    }
    own.late.splice(0, count);
    this.#late -= count;
  }

  #adoptFailed(own: Session, session: Session): void {
    own.pending = session.pending.slice();
    own.late = session.late.slice();
    own.lateBytes = session.lateBytes;
    own.conflicts = new ConflictIndex();
    for (const command of own.pending) own.conflicts.add(command);
    this.#countFailed(own, 1);
  }

  /** Takes all that failed of a session into account, or out of it. */
  #countFailed(session: Session, sign: 1 | -1): void {
    for (const command of session.pending) this.#foldPending(command, sign);
    for (const reply of session.late) this.#foldLate(reply, sign);
    this.#pending += sign * session.pending.length;
    this.#late += sign * session.late.length;
    this.#lateBytes += sign * session.lateBytes;
  }

  #foldPending(command: PendingCommand, sign: 1 | -1): void {
    const sum = this.#sum;
    sum.number(0, command.session);
    sum.number(1, command.sequence);
    sum.number(2, command.hash * 8 + (command.strict ? 1 : 0) + (command.writes ? 2 : 0));
    sum.number(3, command.low);
    sum.number(4, command.high);
    sum.number(5, 0);
    sum.fold(6, sign);
  }

  #foldLate(reply: LateReply, sign: 1 | -1): void {
    const sum = this.#sum;
    sum.number(0, reply.session);
    sum.number(1, reply.sequence);
    sum.number(2, reply.hash * 8 + 4);
    sum.fold(3, sign);
  }

  #foldSession(session: Session, sign: 1 | -1): void {
    const sum = this.#sum;
    sum.number(0, session.id);
    sum.number(1, session.last);
    sum.number(2, session.activeAt);
    sum.number(3, session.activePosition);
    sum.fold(4, sign);
  }

  #foldReply(reply: RememberedReply, sign: 1 | -1): void {
    const sum = this.#sum;
    sum.number(0, reply.session);
    sum.number(1, reply.first);
    sum.number(2, reply.position);
    sum.number(3, mix32(reply.count) * 2 + 1);
    sum.number(4, reply.hash);
    sum.fold(5, sign);
  }
}
