import { SynodError } from "../../model/index.js";

/**
 * Histories: what clients asked and were told, and when. One JSON object a line:
 *
 *     {"process": 3, "type": "invoke", "op": "set", "args": ["k", "v"], "t_ns": 120}
 *     {"process": 3, "type": "ok", "op": "set", "args": ["k", "v"], "result": "OK", "t_ns": 190}
 *
 * `process` is a client that has one operation open at a time. `ok`: the result was received. `fail`: certainly not
 * applied. `info`: the outcome is unknown; the operation may take effect at any later time or never, and its process name
 * is not used again. An operation that is still open at the end counts as `info`. `op` and `args` of a completion may be
 * left out; an invocation's `result` is ignored. An error reply is written `{"error": "ERR …"}`.
 *
 * Times are nanoseconds from any origin, on clocks that agree between processes. They may not go back within a process;
 * lines of different processes may stand in any order.
 */
export type EventType = "invoke" | "ok" | "fail" | "info";
export type Process = string | number;

export interface HistoryEvent {
  readonly process: Process;
  readonly type: EventType;
  /** Name of the operation; a completion that names one must name that of its invocation. */
  readonly op?: string;
  readonly args?: readonly unknown[];
  readonly result?: unknown;
  readonly tNs: number;
}

export type Outcome = "ok" | "fail" | "info";

/** One operation of a history: an invocation together with what became of it. */
export interface Operation {
  readonly process: Process;
  readonly op: string;
  readonly args: readonly unknown[];
  readonly outcome: Outcome;
  /** What the client was told; null unless `outcome` is `ok`. */
  readonly result: unknown;
  readonly invokedNs: number;
  /** When the client was told; `Infinity` if the outcome is unknown. */
  readonly completedNs: number;
}

/** The history is malformed. `line` counts from 1; 0 if the history was not read from lines. Exit 4. */
export class HistoryError extends SynodError {
  readonly line: number;
  constructor(message: string, line: number) {
    super("SYNOD_HISTORY", line === 0 ? message : `line ${line}: ${message}`);
    this.line = line;
  }
}

/** Longest line of a history file in bytes. */
export const HISTORY_LINE_BYTES_MAX = 1024 * 1024;
/** Most operations of one history; a longer one is refused with `HistoryError` instead of filling the memory. */
export const HISTORY_OPERATIONS_MAX = 10_000_000;

interface MutableOperation {
  process: Process;
  op: string;
  args: readonly unknown[];
  outcome: Outcome;
  result: unknown;
  invokedNs: number;
  completedNs: number;
}

/** What is known of a process: its open operation, the time of its last event, and whether its name is used up. */
interface ProcessState {
  open: MutableOperation | null;
  lastNs: number;
  retired: boolean;
}

/**
 * Pairs events into operations and refuses what can't be a history. Feed it events in an order in which each process's own
 * events are in sequence. Operations appear in `operations` in order of invocation events, open ones as `info` until they
 * complete.
 */
export class HistoryBuilder {
  readonly #operations: MutableOperation[] = [];
  readonly #processes = new Map<Process, ProcessState>();
  readonly #operationsMax: number;
  /** A parsed line has fresh strings; names and keys repeat, so one copy of each short one is kept. */
  readonly #texts = new Map<string, string>();

  constructor(operationsMax = HISTORY_OPERATIONS_MAX) {
    this.#operationsMax = operationsMax;
  }

  get operations(): readonly Operation[] {
    return this.#operations;
  }

  /** The operation that a process has open, null if none. */
  openOf(process: Process): Operation | null {
    return this.#processes.get(process)?.open ?? null;
  }

  /** Throws `HistoryError` for an event that contradicts the format; `line` is named in it. */
  add(event: HistoryEvent, line = 0): void {
    const state = this.#stateOf(event.process);
    if (state.lastNs > event.tNs) {
      const times = `${event.tNs} comes after ${state.lastNs}`;
      throw new HistoryError(`time goes back within process ${quote(event.process)}: ${times}`, line);
    }
    if (event.type === "invoke") this.#invoke(state, event, line);
    else this.#complete(state, event, event.type, line);
    state.lastNs = event.tNs;
  }

  #stateOf(process: Process): ProcessState {
    let state = this.#processes.get(process);
    if (state === undefined) {
      state = { open: null, lastNs: -Infinity, retired: false };
      this.#processes.set(typeof process === "string" ? this.#intern(process) : process, state);
    }
    return state;
  }

  #invoke(state: ProcessState, event: HistoryEvent, line: number): void {
    if (state.open !== null) {
      throw new HistoryError(`process ${quote(event.process)} invokes while its last operation is open`, line);
    }
    if (state.retired) {
      throw new HistoryError(
        `process ${quote(event.process)} goes on after an operation with unknown outcome; its name may not be reused`,
        line,
      );
    }
    if (event.op === undefined || event.op === "") throw new HistoryError(`an invocation without "op"`, line);
    if (this.#operations.length >= this.#operationsMax) {
      throw new HistoryError(`more than ${this.#operationsMax} operations`, line);
    }
    const args = event.args ?? [];
    const operation: MutableOperation = {
      process: typeof event.process === "string" ? this.#intern(event.process) : event.process,
      op: this.#intern(event.op),
      args: args.map((argument) => (typeof argument === "string" ? this.#intern(argument) : argument)),
      outcome: "info",
      result: null,
      invokedNs: event.tNs,
      completedNs: Infinity,
    };
    this.#operations.push(operation);
    state.open = operation;
  }

  #complete(state: ProcessState, event: HistoryEvent, outcome: Outcome, line: number): void {
    const operation = state.open;
    if (operation === null) {
      throw new HistoryError(
        `process ${quote(event.process)} completes ("${outcome}") without an open invocation`,
        line,
      );
    }
    if (event.op !== undefined && event.op !== operation.op) {
      const what = `completes "${event.op}", but its open operation is "${operation.op}"`;
      throw new HistoryError(`process ${quote(event.process)} ${what}`, line);
    }
    state.open = null;
    operation.outcome = outcome;
    if (outcome === "info") {
      state.retired = true;
      return;
    }
    operation.completedNs = event.tNs;
    if (outcome === "ok") {
      const result = event.result ?? null;
      operation.result = typeof result === "string" ? this.#intern(result) : result;
    }
  }

  #intern(text: string): string {
    if (text.length > 64) return text;
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    // Histories with unique values would fill the table with texts that never come again.
    if (this.#texts.size >= 100_000) this.#texts.clear();
    this.#texts.set(text, text);
    return text;
  }
}

function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

const types: ReadonlySet<string> = new Set(["invoke", "ok", "fail", "info"]);

/** Reads one line of a history file. Throws `HistoryError` naming `line` for anything malformed. */
export function parseHistoryLine(text: string, line: number): HistoryEvent {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new HistoryError(`not JSON (${error instanceof Error ? error.message : String(error)})`, line);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new HistoryError(`expected an object, got ${quote(value)}`, line);
  }
  const { process, type, op, args, result, t_ns: tNs } = value as Record<string, unknown>;
  if (typeof type !== "string" || !types.has(type)) {
    throw new HistoryError(`unknown type ${quote(type)}; it is one of invoke, ok, fail, info`, line);
  }
  if (typeof process !== "string" && typeof process !== "number") {
    throw new HistoryError(`"process" must be a text or a number, got ${quote(process)}`, line);
  }
  if (typeof tNs !== "number") throw new HistoryError(`"t_ns" must be a number, got ${quote(tNs)}`, line);
  if (op !== undefined && op !== null && typeof op !== "string") {
    throw new HistoryError(`"op" must be a text, got ${quote(op)}`, line);
  }
  if (args !== undefined && args !== null && !Array.isArray(args)) {
    throw new HistoryError(`"args" must be a list, got ${quote(args)}`, line);
  }
  return {
    process,
    type: type as EventType,
    ...(typeof op === "string" ? { op } : {}),
    ...(Array.isArray(args) ? { args: args as unknown[] } : {}),
    result: result ?? null,
    tNs,
  };
}

/** One event as a line of a history file, without the line's end. Its times are whole nanoseconds. */
export function formatHistoryLine(event: HistoryEvent): string {
  return JSON.stringify({
    process: event.process,
    type: event.type,
    op: event.op,
    args: event.args ?? [],
    result: event.result ?? null,
    t_ns: Math.round(event.tNs),
  });
}

/** An operation as the event lines it came from, for showing a contradicting part in the history's own format. */
export function operationEvents(operation: Operation): HistoryEvent[] {
  const { process, op, args } = operation;
  const invoke: HistoryEvent = { process, type: "invoke", op, args, tNs: operation.invokedNs };
  if (operation.completedNs === Infinity) return [invoke];
  const { outcome: type, result, completedNs: tNs } = operation;
  return [invoke, { process, type, op, args, result, tNs }];
}

/**
 * Reads a history from chunks of bytes, holding no more text than one chunk and one line. Blank lines are skipped.
 *
 * Throws `HistoryError` with the line's number for malformed input, a line above `HISTORY_LINE_BYTES_MAX` included.
 * `onBytes` hears how many bytes have been read so far.
 */
export async function readHistory(
  chunks: AsyncIterable<Uint8Array>,
  onBytes?: (bytes: number) => void,
): Promise<readonly Operation[]> {
  const builder = new HistoryBuilder();
  let line = 0;
  let total = 0;
  /** Pieces of a line whose end has not been read; joined once it has. */
  let rest: Buffer[] = [];
  let restBytes = 0;
  const take = (bytes: Buffer): void => {
    for (const text of bytes.toString("utf8").split("\n")) {
      line++;
      if (text.length * 3 > HISTORY_LINE_BYTES_MAX && Buffer.byteLength(text) > HISTORY_LINE_BYTES_MAX) {
        throw new HistoryError(`longer than ${HISTORY_LINE_BYTES_MAX} bytes`, line);
      }
      if (text.trim() !== "") builder.add(parseHistoryLine(text, line), line);
    }
  };
  for await (const chunk of chunks) {
    total += chunk.length;
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const end = bytes.lastIndexOf(10);
    if (end >= 0) {
      take(Buffer.concat([...rest, bytes.subarray(0, end)]));
      rest = [];
      restBytes = 0;
    }
    // Copied, because whoever gives the chunks may use their memory again.
    rest.push(Buffer.from(bytes.subarray(end + 1)));
    restBytes += bytes.length - end - 1;
    if (restBytes > HISTORY_LINE_BYTES_MAX) {
      throw new HistoryError(`longer than ${HISTORY_LINE_BYTES_MAX} bytes`, line + 1);
    }
    onBytes?.(total);
  }
  if (restBytes > 0) take(Buffer.concat(rest));
  return builder.operations;
}

/**
 * Records a history while it happens, for load generators, simulators and tests. Operations are kept in memory;
 * `onLine`, if given, gets each event as a line for a file (the caller adds the line's end).
 *
 * A client that goes on after an operation of unknown outcome does so under a new process name: see `processOf`.
 */
export class HistoryRecorder {
  readonly #builder: HistoryBuilder;
  readonly #onLine: ((line: string) => void) | null;
  /** How often each client had an operation of unknown outcome. */
  readonly #lives = new Map<Process, number>();

  constructor(onLine?: (line: string) => void, operationsMax = HISTORY_OPERATIONS_MAX) {
    this.#onLine = onLine ?? null;
    this.#builder = new HistoryBuilder(operationsMax);
  }

  get operations(): readonly Operation[] {
    return this.#builder.operations;
  }

  /** The process name that a client's events carry at present: its own, then `name'1`, `name'2`, … after each `info`. */
  processOf(client: Process): Process {
    const lives = this.#lives.get(client) ?? 0;
    return lives === 0 ? client : `${client}'${lives}`;
  }

  invoke(client: Process, op: string, args: readonly unknown[], tNs: number): void {
    this.#add({ process: this.processOf(client), type: "invoke", op, args, tNs });
  }

  complete(client: Process, outcome: Outcome, result: unknown, tNs: number): void {
    const process = this.processOf(client);
    const open = this.#builder.openOf(process);
    const named = open === null ? {} : { op: open.op, args: open.args };
    this.#add({ process, type: outcome, ...named, result, tNs });
    if (outcome === "info") this.#lives.set(client, (this.#lives.get(client) ?? 0) + 1);
  }

  #add(event: HistoryEvent): void {
    this.#builder.add(event);
    this.#onLine?.(formatHistoryLine(event));
  }
}
