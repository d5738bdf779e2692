import type { ByteWriter } from "../base/index.js";
import type { GroupMapping } from "./group-mapping.js";

/**
 * A run: commands that execute one behind the other, as columns. `offsets[i]` is where command i starts in `bytes` (its
 * first four bytes are its length); commands need not be adjacent. The object is reused; nobody keeps it.
 */
export interface Run {
  bytes: Uint8Array;
  view: DataView;
  offsets: Uint32Array;
  count: number;
  /** Agreed time in ms since the epoch: the same on every replica. */
  time: number;
  /** Agreed seed of the run's randomness: derived from its log position. */
  seed: number;
  /** True for unordered reads: nothing may change and commands that write answer an error. */
  readOnly: boolean;
  /**
   * The host sets it to `count`. In a read-only run a service that has no room for the value of a command behind the first
   * (`READ_REPLIES_BYTES_TARGET`) stops in front of that command and says here how many it has answered; the rest is asked
   * for again.
   */
  answered: number;
  /**
   * The host sets it to 0. What the commands cost beyond one each, where it is much more: a service says it here, in units of
   * about a short command, so that the host goes back to its other duties in time.
   */
  work: number;
  /**
   * Where the replies of the run begin in the writer, for `attempt`, which may be called several times for one run: `REPLIES_BYTES_MAX`
   * counts from here.
   */
  repliesAt: number;
}

export function emptyRun(): Run {
  const bytes = new Uint8Array(0);
  return {
    bytes,
    view: new DataView(bytes.buffer),
    offsets: new Uint32Array(64),
    count: 0,
    time: 0,
    seed: 0,
    readOnly: false,
    answered: 0,
    work: 0,
    repliesAt: 0,
  };
}

/**
 * Most bytes of values in the replies to one run. A service answers an error instead of a value that would exceed it, and
 * such a command changes nothing; small fixed replies and errors come on top (at most 128 bytes a command).
 */
export const REPLIES_BYTES_MAX = 16 * 1024 * 1024;

/**
 * In a read-only run a service stops in front of a value that would bring the replies above so many bytes, unless it is that
 * of the first command (see `Run.answered`): a thread that copies long values does nothing else meanwhile.
 */
export const READ_REPLIES_BYTES_TARGET = 2 * 1024 * 1024;

/** A stack of undo records. A service pushes what it needs to take a change back, in its own form. */
export class UndoLog {
  readonly entries: unknown[] = [];

  mark(): number {
    return this.entries.length;
  }

  push(...parts: unknown[]): void {
    for (const part of parts) this.entries.push(part);
  }

  pop(): unknown {
    return this.entries.pop();
  }

  /** Forgets all records: everything so far is confirmed. */
  confirm(): void {
    this.entries.length = 0;
  }
}

/** A 128-bit state digest as four u32. Equal states give equal digests on every engine; order of insertion does not matter. */
export type Digest = Uint32Array;

/** Produces a checkpoint in slices of the state as it was when the source was made, while commands go on executing. */
export interface SnapshotSource {
  /**
   * Appends up to about `bytesTarget` bytes of the snapshot to `writer` and returns false when that was the last slice.
   * The host bounds the time by the target.
   */
  next(writer: ByteWriter, bytesTarget: number): boolean;
  /** Lets go of the mark, finished or not. */
  close(): void;
}

/** Rebuilds a state from a snapshot's bytes, given in chunks cut at arbitrary places. */
export interface SnapshotSink {
  /** Throws `CheckpointDamagedError` for malformed input. */
  write(bytes: Uint8Array, start: number, end: number): void;
  /** Puts the state in place of the old one. Throws `CheckpointDamagedError` if the snapshot is incomplete. */
  finish(): void;
}

/** Deterministic state machine on runs. Implementations never see sessions, sequence numbers or positions. */
export interface Service {
  readonly name: string;
  /**
   * Called once for each ordered batch, before its blocks execute, with the agreed time in ms, which never goes back: a
   * service that removes what has expired does a bounded piece of that here. Reads never come through here; they hide what
   * has expired by their own time.
   */
  advance(time: number, undo: UndoLog | null): void;
  /**
   * Agreed time from which `advance` has something to do, `Infinity` if never. When it has passed and no commands arrive,
   * the coordinator orders an empty batch (DESIGN safety rule 8).
   */
  due(): number;
  /**
   * Executes a run in order and appends exactly one reply per command to `replies` (u32 byte length, included, then bytes),
   * or fewer in a read-only run, see `Run.answered`.
   * Malformed commands get an error reply and change nothing. With `undo`, pushes what `rollback` needs.
   */
  execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void;
  /** Takes back everything recorded since `mark`, newest first. */
  rollback(undo: UndoLog, mark: number): void;
  /** True if this one command (at `at` in the view) never changes state: it may be sent as an unordered read. */
  isRead(view: DataView, at: number): boolean;
  /** Group masks of the commands of a run (bit i: group i), one per command, for P-SMR; `mode` 1 asks for the optimistic ones. */
  groups(run: Run, mode: 0 | 1, masks: Uint32Array): void;
  /** opt-PSMR's safety check: sets `pass[i]` to 1 if command i may execute in parallel mode on this thread. */
  safetyCheck(run: Run, thread: number, pass: Uint8Array): void;
  /** Conflict columns of a run for schedulers: commands i and j conflict if their [low, high] ranges overlap and one writes. */
  conflicts(run: Run, low: Float64Array, high: Float64Array, writes: Uint8Array): void;
  /** Writes the digest of the whole state into four u32. */
  digest(into: Digest): void;
  snapshot(): SnapshotSource;
  restore(): SnapshotSink;
  /** Approximate number of entries and bytes of state, for status and limits. */
  size(): { readonly entries: number; readonly bytes: number };
}

/**
 * A service whose state several threads of one process share, each by a view of its own (P-SMR). Between barriers the thread
 * of group i executes commands whose mask is that group alone; at a barrier one thread executes for all that take part in it.
 *
 * `advance` is called by whoever executes an ordered batch, in its own stream or at a barrier, with the agreed time of its thread: what
 * is due by time is done for the part of the state that is this thread's alone, so that it depends on the thread's merged stream and
 * nothing else. `due` is about that part as well, and never asked while the thread waits. `digest` is called only in the first thread,
 * at a barrier over all threads.
 *
 * `threads` are masks: bit i is the thread of group i, and the part of the state that its group has.
 */
export interface SharedService extends Service {
  /**
   * Whether each view has a part of the state for itself. Then a checkpoint's part of each thread has that part's `snapshot`, and `restore`
   * takes it; else both are called in the first thread alone, for all. A snapshot is taken at a barrier over all threads, or by the others
   * behind it before they execute anything; it is read in slices only while its thread does not wait.
   */
  readonly partitioned: boolean;
  /**
   * Puts what this view has changed of the state of `threads` where the other views find it. Called with its own one before the
   * thread arrives at a barrier; and with all that take part before the thread that has executed there lets them go on. `alone`
   * says that all other threads have waited meanwhile.
   */
  publish(alone: boolean, threads: number): void;
  /**
   * Takes over what others have published of the state of `threads`: of its own one first thing behind a barrier, and of all
   * that take part before executing at it.
   */
  adopt(threads: number): void;
  /**
   * opt-PSMR, parallel mode: executes the commands of the run from `first` on in order, as `execute` does, up to the first that
   * fails its safety check, and returns the index of that one, or `run.count`. Nothing of a command that fails is left, in
   * `replies` neither: either its check needs no execution, or what it did is taken back. Whether a command passes depends on the
   * replicated state alone, and on no part of it that another thread may change meanwhile. Absent in a service none of whose
   * single-group commands can fail.
   */
  attempt?(run: Run, first: number, thread: number, replies: ByteWriter): number;
}

/** The view that the first thread has of a shared service, before and after the others attach. */
export interface SharedServiceRoot extends SharedService {
  /**
   * Lets the other threads share the state as it is now, which may have been restored before. Called once. Returns plain data
   * with `SharedArrayBuffer`s in it, that can be posted to threads.
   */
  share(): unknown;
}

/** A service that several threads of a replica can share. */
export interface SharedServiceModule {
  readonly name: string;
  /** The view of thread 0 on a new state for so many groups. */
  createShared(groups: number): SharedServiceRoot;
  /** The view of another thread, 1 to groups - 1, on what `share` described. */
  attach(description: unknown, thread: number, groups: number): SharedService;
  /** Which groups commands concern. It needs no state: clients have it as well. With opt-PSMR the conservative one, CC-G. */
  mapping(groups: number): GroupMapping;
  /** OC-G of opt-PSMR: the groups that commands concern if all goes well. Absent if that is no other than `mapping`. */
  optimisticMapping?(groups: number): GroupMapping;
}

/** A service as the registry makes it. */
export interface ServiceModule {
  readonly name: string;
  create(): Service;
}
