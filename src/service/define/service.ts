// Hot file: every command of a user-defined service runs here. Watched by bench/define.mjs.
import { type ByteWriter, CapacityError, hashText, mix32 } from "../../base/index.js";
import {
  type Digest,
  READ_REPLIES_BYTES_TARGET,
  REPLIES_BYTES_MAX,
  type Run,
  type Service,
  type ServiceModule,
  type SnapshotSink,
  type SnapshotSource,
  type UndoLog,
} from "../../model/index.js";
import {
  DECLARED_KEYS_MAX,
  DEFINED_COMMAND_HEADER_BYTES,
  DEFINED_REPLY_HEADER_BYTES,
  DefinedReply,
  ERROR_CHARACTERS_MAX,
} from "./command.js";
import type { DefinedCommand, ServiceDefinition } from "./definition.js";
import { DeterminismError, ServiceError, StrayedError, UndeclaredKeyError, ValueError } from "./errors.js";
import { ValueReader, writeValue } from "./message-pack.js";
import { checkKey, OpenTable, Scope } from "./open-table.js";
import { DefinedSink, DefinedSource } from "./snapshot.js";
import { TableStore } from "./store.js";

/** Entries that the commands of one run of reads range over before the others have to be asked for again. */
const READ_VISITED_MAX = 10_000;
/** With what stands around them in an error reply these come to less than 128 bytes. */
const SHORT_MESSAGE_BYTES = 84;
const SHORT_NAME_BYTES = 24;

/**
 * Whether code of the user runs, for whoever watches what it reaches for (the determinism guard of a replica). One object
 * for a service; the service writes `running`, the guard reads it and writes `violation`.
 */
export interface UserCode {
  /** "service bank, command deposit" while its code runs, else null. */
  running: string | null;
  /** What the guard objected to in the present command, whether or not the command caught the error. */
  violation: Error | null;
}

/** The service of a definition, for the registry. */
export function definedService(
  definition: ServiceDefinition,
  userCode: UserCode = { running: null, violation: null },
): ServiceModule {
  return { name: definition.name, create: () => new DefinedService(definition, userCode) };
}

/** The service of a definition over tables in one piece. */
export class DefinedService implements Service {
  readonly name: string;
  protected readonly definition: ServiceDefinition;
  readonly #userCode: UserCode;
  readonly #commands: ReadonlyMap<number, DefinedCommand>;
  protected readonly store: TableStore;
  readonly #scope = new Scope();
  readonly #reader = new ValueReader();
  readonly #tables: Readonly<Record<string, OpenTable>>;
  /** Length that the replies of the present run may reach. */
  #repliesEnd = 0;
  /** The present command was refused its reply because of that. */
  #overflowed = false;

  constructor(definition: ServiceDefinition, userCode: UserCode, store = new TableStore()) {
    this.store = store;
    this.name = definition.name;
    this.definition = definition;
    this.#userCode = userCode;
    this.#commands = new Map(definition.commands.map((command) => [command.number, command]));
    this.#tables = Object.freeze(
      Object.fromEntries(
        definition.tables.map((name, i) => [name, new OpenTable(name, i, this.#scope, this.store, this.#reader)]),
      ),
    );
  }

  /** Nothing depends on the time alone. */
  advance(): void {}

  due(): number {
    return Infinity;
  }

  execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
    const scope = this.#scope;
    const start = replies.length;
    this.#repliesEnd = start + REPLIES_BYTES_MAX;
    scope.visited = 0;
    for (let i = 0; i < run.count; i++) {
      const end = replies.length;
      this.#overflowed = false;
      this.#command(run, i, replies, undo, false);
      if (!run.readOnly) continue;
      if (i === 0) {
        // The first command may be as long as any; the others are answered once the rest is asked for.
        this.#repliesEnd = start + READ_REPLIES_BYTES_TARGET;
      } else if (this.#overflowed) {
        replies.length = end;
        run.answered = i;
        break;
      }
      // What ranges over many entries is left to itself: the host has other duties, too.
      if (scope.visited > READ_VISITED_MAX) {
        run.answered = i + 1;
        break;
      }
    }
    run.work = scope.visited;
  }

  /**
   * Executes commands from `first` on as `execute` does, up to the first that fails, and returns its index, or the number of all. One that
   * declares `likely` fails if its check does not pass, or if it touches an entry of another partition than the store is confined to:
   * nothing of it is left then. The others touch only what the mapping has found to be of this partition.
   */
  protected attemptFrom(run: Run, first: number, replies: ByteWriter): number {
    const scope = this.#scope;
    this.#repliesEnd = run.repliesAt + REPLIES_BYTES_MAX;
    scope.visited = 0;
    let i = first;
    while (i < run.count && this.#command(run, i, replies, null, true)) i++;
    run.work += scope.visited;
    return i;
  }

  rollback(undo: UndoLog, mark: number): void {
    this.store.rollback(undo, mark);
  }

  isRead(view: DataView, at: number): boolean {
    return this.#commandAt(view, at)?.read === true;
  }

  /** One group: every command belongs to it. */
  groups(run: Run, _mode: 0 | 1, masks: Uint32Array): void {
    masks.fill(1, 0, run.count);
  }

  /** What a command touches is known where it executes, and nowhere else: everything passes here. See `attemptFrom`. */
  safetyCheck(run: Run, _thread: number, pass: Uint8Array): void {
    pass.fill(1, 0, run.count);
  }

  /**
   * The range of a command is that of the hashes of its keys. What is answered by an error whatever the state is conflicts
   * with nothing.
   */
  conflicts(run: Run, low: Float64Array, high: Float64Array, writes: Uint8Array): void {
    for (let i = 0; i < run.count; i++) {
      const at = run.offsets[i] as number;
      low[i] = Infinity;
      high[i] = -Infinity;
      writes[i] = 0;
      const command = this.#commandAt(run.view, at);
      if (command === undefined) continue;
      let keys: readonly string[] | null;
      try {
        this.#userCode.running = command.label;
        keys = declaredKeys(command, this.#argument(run, at));
      } catch {
        continue;
      } finally {
        this.#userCode.running = null;
        this.#userCode.violation = null;
      }
      writes[i] = command.read ? 0 : 1;
      if (keys === null) {
        low[i] = -Infinity;
        high[i] = Infinity;
        continue;
      }
      for (const key of keys) {
        const hash = hashText(key, 0x5e0d);
        if (hash < (low[i] as number)) low[i] = hash;
        if (hash > (high[i] as number)) high[i] = hash;
      }
    }
  }

  digest(into: Digest): void {
    this.store.readDigest(into);
  }

  snapshot(): SnapshotSource {
    return new DefinedSource(this.definition.tables, this.store.snapshot());
  }

  restore(): SnapshotSink {
    return new DefinedSink(this.name, this.definition.tables, this.store.restore());
  }

  size(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.store.count, bytes: this.store.bytes };
  }

  #commandAt(view: DataView, at: number): DefinedCommand | undefined {
    return view.getUint32(at, true) < DEFINED_COMMAND_HEADER_BYTES
      ? undefined
      : this.#commands.get(view.getUint32(at + 4, true));
  }

  #argument(run: Run, at: number): unknown {
    const end = at + run.view.getUint32(at, true);
    const start = at + DEFINED_COMMAND_HEADER_BYTES;
    return start === end ? undefined : this.#reader.read(run.bytes, run.view, start, end);
  }

  /** Answers command i; false, and nothing of it is left, if it fails as an optimistic one. */
  #command(run: Run, i: number, replies: ByteWriter, undo: UndoLog | null, optimistic: boolean): boolean {
    const at = run.offsets[i] as number;
    const command = this.#commandAt(run.view, at);
    if (command === undefined) {
      this.#replyError(replies, DefinedReply.refused, `service ${this.name} has no such command in this version`);
      return true;
    }
    if (run.readOnly && !command.read) {
      this.#replyError(replies, DefinedReply.refused, `${command.label}: it writes, and was sent as an unordered read`);
      return true;
    }
    const userCode = this.#userCode;
    const scope = this.#scope;
    const start = replies.length;
    const mark = undo === null ? 0 : undo.mark();
    const seed = mix32(run.seed ^ Math.imul(i + 1, 0x9e3779b1));
    if (optimistic && command.likely !== undefined) this.store.confine();
    try {
      const argument = this.#argument(run, at);
      userCode.running = command.label;
      const keys = declaredKeys(command, argument);
      if (optimistic && command.check !== undefined) {
        scope.begin(run.time, seed);
        scope.open(command.label, keys, false, null);
        if (!this.#passes(command, argument)) return false;
      }
      scope.begin(run.time, seed);
      scope.open(command.label, keys, !command.read, undo);
      const result = command.run(this.#tables, argument, scope);
      refusePromise(command, result);
      const reply = beginReply(replies, DefinedReply.result);
      writeValue(replies, result);
      endReply(replies, reply);
      if (userCode.violation !== null) throw userCode.violation;
      if (this.store.fault !== null) throw this.store.fault;
      if (this.store.strayed) throw new StrayedError();
      if (replies.length > this.#repliesEnd) throw new CapacityError("the replies of the run");
      this.store.keep();
    } catch (error) {
      if (this.store.fault !== null) throw this.store.fault;
      // Still the user's: an error that a command throws can compute its message.
      replies.length = start;
      const { strayed } = this.store;
      if (!strayed) this.#replyFailure(command, error, replies);
      if (undo === null) this.store.takeBack();
      else this.store.rollback(undo, mark);
      if (strayed) return false;
    } finally {
      this.store.release();
      scope.close();
      userCode.running = null;
      userCode.violation = null;
    }
    return true;
  }

  /**
   * Whether the check of a command says so. What it throws, the objections of the guard included, is the same on every replica and makes
   * it fail: what results a command has must not depend on whether it was checked.
   */
  #passes(command: DefinedCommand, argument: unknown): boolean {
    try {
      const passes = command.check?.(this.#tables, argument, this.#scope);
      refusePromise(command, passes);
      return passes === true && !this.store.strayed && this.#userCode.violation === null;
    } catch {
      return false;
    }
  }

  #replyFailure(command: DefinedCommand, error: unknown, replies: ByteWriter): void {
    const cause = this.#userCode.violation ?? error;
    if (cause instanceof CapacityError) {
      this.#overflowed = true;
      this.#replyError(
        replies,
        DefinedReply.refused,
        `the replies of one block exceed ${REPLIES_BYTES_MAX} bytes: ${command.label}`,
      );
    } else if (cause instanceof UndeclaredKeyError) {
      this.#replyError(replies, DefinedReply.undeclared, cause.message);
    } else if (cause instanceof DeterminismError) {
      this.#replyError(replies, DefinedReply.determinism, cause.message);
    } else if (cause instanceof ValueError) {
      this.#replyError(replies, DefinedReply.value, `${command.label}: ${cause.message}`);
    } else this.#replyThrown(replies, cause);
  }

  #replyThrown(replies: ByteWriter, error: unknown): void {
    let message = "it threw something that can't be read";
    let name = "Error";
    try {
      message = error instanceof Error ? String(error.message) : String(error);
      if (error instanceof Error) name = String(error.name);
    } catch {
      // What an error's own getters throw is told by the words above.
    }
    this.#replyError(replies, DefinedReply.thrown, message, name);
  }

  /**
   * Where the replies of the run have come to what they may be, only the beginning of a message is told: the reply is then
   * one of the short ones that come on top (`REPLIES_BYTES_MAX`), however many commands fail with long messages.
   */
  #replyError(replies: ByteWriter, kind: DefinedReply, message: string, thrown?: string): void {
    const start = replies.length;
    writeError(replies, kind, message.slice(0, ERROR_CHARACTERS_MAX), thrown?.slice(0, ERROR_CHARACTERS_MAX));
    if (replies.length <= this.#repliesEnd) return;
    this.#overflowed = true;
    replies.length = start;
    writeError(replies, kind, beginning(message, SHORT_MESSAGE_BYTES), thrown && beginning(thrown, SHORT_NAME_BYTES));
  }
}

/** The keys that a command declares for its argument, checked; null for all. Runs code of the user, which may throw. */
export function declaredKeys(command: DefinedCommand, argument: unknown): readonly string[] | null {
  return command.keys === null ? null : checkedKeys("keys", command.keys(argument));
}

/** The keys that a command declares to be the likely ones. */
export function likelyKeys(likely: NonNullable<DefinedCommand["likely"]>, argument: unknown): readonly string[] {
  return checkedKeys("likely", likely(argument));
}

function checkedKeys(field: string, keys: unknown): readonly string[] {
  if (!Array.isArray(keys)) throw new ValueError(`${field} returns a list of keys`);
  if (keys.length > DECLARED_KEYS_MAX) {
    throw new ValueError(
      `${field} returns at most ${DECLARED_KEYS_MAX} keys, got ${keys.length}; what touches more says keys: "all"`,
    );
  }
  for (const key of keys as unknown[]) {
    if (typeof key !== "string") throw new ValueError(`${field} returns a list of texts, got a ${typeof key} in it`);
    checkKey(field, key);
  }
  return keys as string[];
}

/** What goes on after a command has returned would go on at another moment on every replica. */
function refusePromise(command: DefinedCommand, result: unknown): void {
  if (typeof result !== "object" || result === null) return;
  if (typeof (result as { then?: unknown }).then !== "function") return;
  // It is nobody else's any more, and nobody is told if it fails.
  if (result instanceof Promise) result.catch(() => undefined);
  throw new DeterminismError(
    `${command.label}: it returned a promise; a command is synchronous and returns its result`,
  );
}

function beginReply(replies: ByteWriter, kind: DefinedReply): number {
  const at = replies.skip(DEFINED_REPLY_HEADER_BYTES);
  replies.view.setUint32(at + 4, kind, true);
  return at;
}

function endReply(replies: ByteWriter, at: number): void {
  replies.view.setUint32(at, replies.length - at, true);
}

function writeError(replies: ByteWriter, kind: DefinedReply, message: string, thrown: string | undefined): void {
  const at = beginReply(replies, kind);
  writeValue(replies, thrown === undefined ? [message] : [message, thrown]);
  endReply(replies, at);
}

/** As much of the beginning of a text as takes at most so many bytes. */
function beginning(text: string, bytesMax: number): string {
  let bytes = 0;
  let end = 0;
  for (; end < text.length; end++) {
    const unit = text.charCodeAt(end);
    bytes += unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
    if (bytes > bytesMax) break;
  }
  return text.slice(0, end);
}

/** For the client: the error that an error reply stands for. */
export function errorOfReply(
  kind: number,
  content: unknown,
): ServiceError | UndeclaredKeyError | DeterminismError | ValueError {
  const [message = "", thrown] = Array.isArray(content) ? (content as unknown[]) : [];
  const text = String(message);
  switch (kind) {
    case DefinedReply.undeclared:
      return new UndeclaredKeyError(text);
    case DefinedReply.determinism:
      return new DeterminismError(text);
    case DefinedReply.value:
      return new ValueError(text);
    default:
      return new ServiceError(text, typeof thrown === "string" ? thrown : undefined);
  }
}
