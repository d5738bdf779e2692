import type { Operation, Process } from "./history.js";
import { type Meaning, meaningOf, NotModelledError, spanOf } from "./meaning.js";

/**
 * What single clients can hold against a store, without a search: a fault of one of these kinds has a short explanation,
 * which "there is no order" has not. Each is a reason why a history is not linearizable; `connection-order` is one why it is
 * not even sequentially consistent, whatever the clocks say.
 *
 * - `stale-read`: a read found a value that had been overwritten before the read began.
 * - `early-read`: a read found a value before anybody began to write it, or one that nobody wrote.
 * - `connection-order`: a process found an older value than it had found or written before.
 */
export type RegisterFaultKind = "stale-read" | "early-read" | "connection-order";

export interface RegisterFault {
  readonly kind: RegisterFaultKind;
  readonly key: string;
  readonly value: string | null;
  /** One sentence. */
  readonly message: string;
  /** The operations that contradict each other, the finding one last. */
  readonly operations: readonly Operation[];
}

export interface RegisterVerdict {
  /** The first fault of each kind. */
  readonly faults: readonly RegisterFault[];
  /** Findings that were judged. */
  readonly judged: number;
  /**
   * Findings that were not, because their key has a value that was written twice, or writes whose value depends on what was
   * there: of those this check says nothing.
   */
  readonly unjudged: number;
}

/** A write of a value that nothing else wrote to the key. */
interface Write {
  readonly value: string | null;
  /** Null for the beginning, where every key is absent. */
  readonly operation: Operation | null;
  /** Place among all operations of the history, which is that of its invocation; -1 for the beginning. */
  readonly index: number;
  readonly invokedNs: number;
  readonly completedNs: number;
}

interface Finding {
  readonly value: string | null;
  readonly operation: Operation;
  readonly index: number;
}

interface Register {
  readonly writes: Map<string | null, Write>;
  readonly findings: Finding[];
  /** Its writes can't be told apart by their values. */
  blurred: boolean;
}

/**
 * Judges the keys whose writes all write different values. Costs a sort by time for each key. Operations on several keys
 * count for each of their keys; what is not modelled blurs all keys.
 */
export function checkRegisters(operations: readonly Operation[]): RegisterVerdict {
  const registers = new Map<string, Register>();
  const doubtful = new Set<string>();
  let blind = false;
  for (const [index, operation] of operations.entries()) {
    if (operation.outcome === "fail") continue;
    const span = spanOf(operation);
    // Of reads that span keys nothing is asked here; writes that do may have taken any value away.
    if (span === "writes") blind = true;
    if (span !== null) continue;
    const meaning = meaningIfModelled(operation, doubtful);
    if (meaning === null) blind = true;
    else note(registers, operation, index, meaning);
  }
  const faults: RegisterFault[] = [];
  let judged = 0;
  let unjudged = 0;
  for (const [key, register] of registers) {
    if (blind || register.blurred || doubtful.has(key)) {
      unjudged += register.findings.length;
      continue;
    }
    judged += register.findings.length;
    for (const fault of [...timeFaults(key, register), ...orderFaults(key, register)]) {
      if (!faults.some(({ kind }) => kind === fault.kind)) faults.push(fault);
    }
  }
  return { faults, judged, unjudged };
}

/** Null if it may have touched any key; adds to `doubtful` those that it has touched in a way that is not modelled. */
function meaningIfModelled(operation: Operation, doubtful: Set<string>): Meaning | null {
  try {
    return meaningOf(operation);
  } catch (error) {
    if (!(error instanceof NotModelledError)) throw error;
    if (error.keys === null) return null;
    for (const key of error.keys) doubtful.add(key);
    return { touches: [], presentMin: 0, presentMax: Infinity, counter: false };
  }
}

function note(registers: Map<string, Register>, operation: Operation, index: number, meaning: Meaning): void {
  const { touches, counter } = meaning;
  for (const { key, requirement, effect } of touches) {
    let register = registers.get(key);
    if (register === undefined) {
      const beginning = { value: null, operation: null, index: -1, invokedNs: -Infinity, completedNs: -Infinity };
      register = { writes: new Map([[null, beginning]]), findings: [], blurred: counter };
      registers.set(key, register);
    }
    // What was found counts even if the same operation then wrote: it found it before.
    if (requirement.kind === "equals" && operation.outcome === "ok") {
      register.findings.push({ value: requirement.value, operation, index });
    }
    if (effect.kind === "none") continue;
    if (effect.kind !== "assign" || register.writes.has(effect.value)) register.blurred = true;
    else {
      const { invokedNs, completedNs } = operation;
      register.writes.set(effect.value, { value: effect.value, operation, index, invokedNs, completedNs });
    }
  }
}

/** Stale reads and early ones. */
function* timeFaults(key: string, { writes, findings }: Register): Generator<RegisterFault> {
  // Which write, of those completed by some time, was begun last: it has overwritten whatever was complete before that.
  const completed = [...writes.values()]
    .filter(({ completedNs }) => completedNs < Infinity)
    .sort((a, b) => a.completedNs - b.completedNs);
  const latest: Write[] = [];
  for (const write of completed) {
    const before = latest.at(-1);
    latest.push(before === undefined || write.invokedNs > before.invokedNs ? write : before);
  }
  for (const { value, operation } of findings) {
    const write = writes.get(value);
    if (write === undefined || write.invokedNs > operation.completedNs) {
      const when = write === undefined ? "which nobody wrote" : "before anybody began to write it";
      const message = `${told(operation)} found ${shown(value)} in ${shown(key)}, ${when}`;
      const others = write === undefined || write.operation === null ? [] : [write.operation];
      yield { kind: "early-read", key, value, message, operations: [...others, operation] };
      continue;
    }
    const at = countBefore(completed, operation.invokedNs);
    const over = at === 0 ? undefined : latest[at - 1];
    if (over === undefined || over === write || !(write.completedNs < over.invokedNs)) continue;
    const message =
      `${told(operation)} found ${shown(value)} in ${shown(key)}, which ${shown(over.value)} had replaced ` +
      `${operation.invokedNs - over.completedNs} ns before it began`;
    const others = [write.operation, over.operation].filter((one) => one !== null);
    yield { kind: "stale-read", key, value, message, operations: [...others, operation] };
  }
}

/** Each process must find its key's values in an order in which they can have been written. */
function* orderFaults(key: string, { writes, findings }: Register): Generator<RegisterFault> {
  const seen = new Map<Process, { readonly write: Write; readonly operation: Operation }>();
  const steps: Finding[] = [...findings];
  for (const { value, operation, index } of writes.values()) {
    if (operation !== null) steps.push({ value, operation, index });
  }
  // Not by time, since a process may do several things at one instant. What an operation found stands before what it wrote.
  steps.sort((a, b) => a.index - b.index);
  for (const { value, operation } of steps) {
    const write = writes.get(value);
    if (write === undefined) continue;
    const before = seen.get(operation.process);
    const older = before !== undefined && before.operation !== operation && precedes(write, before.write);
    if (older) {
      const message =
        `${told(operation)} found ${shown(value)} in ${shown(key)}, but before that the same process had ` +
        `${before.write.operation === before.operation ? "written" : "found"} ${shown(before.write.value)}, which is newer`;
      const others = [write.operation, before.write.operation].filter((one) => one !== null);
      yield { kind: "connection-order", key, value, message, operations: [...others, before.operation, operation] };
    }
    if (before === undefined || precedes(before.write, write)) seen.set(operation.process, { write, operation });
  }
}

/** Whether one write certainly came before another: one process did both in turn, or it is the beginning. */
function precedes(a: Write, b: Write): boolean {
  if (a === b || b.operation === null) return false;
  if (a.operation === null) return true;
  return a.operation.process === b.operation.process && a.index < b.index;
}

/** How many writes had completed before this instant. */
function countBefore(completed: readonly Write[], instantNs: number): number {
  let low = 0;
  let high = completed.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((completed[middle] as Write).completedNs < instantNs) low = middle + 1;
    else high = middle;
  }
  return low;
}

const told = ({ process, op }: Operation): string => `process ${shown(process)}: ${op}`;

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
