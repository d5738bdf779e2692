import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { MiB } from "../base/index.js";
import { ExitCode } from "../model/index.js";
import {
  checkHistory,
  checkRegisters,
  formatHistoryLine,
  HistoryError,
  type Operation,
  operationEvents,
  readHistory,
  type RegisterVerdict,
  type Verdict,
} from "../sim/index.js";
import { type CheckStreams, processStreams, Progress } from "./check-streams.js";
import { grouped } from "./output.js";

/** Operations of a contradicting part that are written for people; `--json` has all of them. */
const SHOWN_MAX = 50;

/**
 * `synod check HISTORY.jsonl [--json]`: says whether a history is linearizable; `-` is standard input.
 *
 * Exit codes: 0 linearizable, 5 violation, 1 unknown or the file can't be read, 4 the history is malformed (the line is
 * named on the error stream). With `json`, one object: `verdict`, `operations`, `keys`, `ms`, for a violation also `part`
 * (events in the history's own format, a history in itself), for unknown also `reasons`. `faults` are stale reads and the like,
 * one of a kind, with a sentence and a part each; `findings` says how many values that clients found were judged for them.
 */
export async function checkCommand(
  file: string,
  options: { readonly json: boolean; readonly input?: AsyncIterable<Uint8Array> },
  streams: CheckStreams = processStreams,
): Promise<number> {
  const started = performance.now();
  const progress = new Progress(streams, started);
  let verdict: Verdict;
  let registers: RegisterVerdict;
  try {
    const operations = await readOperations(file, options.input, progress);
    if (operations.length === 0) throw new HistoryError("there is no operation in it, so there is nothing to judge", 0);
    registers = checkRegisters(operations);
    verdict = checkHistory(operations, {
      onProgress: (checked, total) => progress.show(`checked ${grouped(checked)} of ${grouped(total)} operations`),
    });
  } catch (error) {
    progress.clear();
    if (error instanceof HistoryError) {
      streams.error(`synod: ${file}: ${error.message}\n`);
      return ExitCode.usage;
    }
    if (error instanceof Error && "syscall" in error) {
      streams.error(`synod: can't read ${file}: ${error.message}\n`);
      return ExitCode.failed;
    }
    throw error;
  }
  progress.clear();
  const ms = Math.round(performance.now() - started);
  if (options.json) streams.out(`${JSON.stringify(reportOf(verdict, registers, ms))}\n`);
  else for (const line of wordsOf(verdict, registers, ms)) streams.out(`${line}\n`);
  // A short contradiction is certain, also where the search for an order found no end.
  if (registers.faults.length > 0) return ExitCode.verdict;
  const codes = { linearizable: ExitCode.ok, violation: ExitCode.verdict, unknown: ExitCode.failed };
  return codes[verdict.verdict];
}

/** The operations of a file; `-` is standard input, of which nobody knows how long it is. */
async function readOperations(
  file: string,
  input: AsyncIterable<Uint8Array> | undefined,
  progress: Progress,
): Promise<readonly Operation[]> {
  if (file === "-") {
    return readHistory(input ?? process.stdin, (bytes) =>
      progress.show(`read ${grouped(Math.floor(bytes / MiB))} MiB`),
    );
  }
  const { size } = await stat(file);
  return readHistory(createReadStream(file, { highWaterMark: MiB }), (bytes) =>
    progress.show(`read ${Math.min(99, Math.floor((100 * bytes) / Math.max(1, size)))} %`),
  );
}

function reportOf(verdict: Verdict, registers: RegisterVerdict, ms: number): object {
  const { operations, keys, violation, reasons } = verdict;
  const faults = registers.faults.map(({ kind, key, message, operations: part }) => ({
    kind,
    key,
    message,
    part: eventsOf(part).map((line) => JSON.parse(line) as object),
  }));
  return {
    verdict: faults.length > 0 ? "violation" : verdict.verdict,
    operations,
    keys,
    ms,
    ...(violation === null ? {} : { part: eventsOf(violation.part).map((line) => JSON.parse(line) as object) }),
    ...(verdict.verdict === "unknown" ? { reasons } : {}),
    faults,
    findings: { judged: registers.judged, unjudged: registers.unjudged },
  };
}

/** The lines of a part as a history of its own, in order of time. The sort is stable, so each process's order stays. */
function eventsOf(part: readonly Operation[]): string[] {
  const events = part.flatMap(operationEvents).sort((a, b) => a.tNs - b.tNs);
  return events.map(formatHistoryLine);
}

function wordsOf(verdict: Verdict, registers: RegisterVerdict, ms: number): string[] {
  return [
    ...verdictWords(verdict, registers, ms),
    ...registers.faults.map(({ kind, message }) => `  ${kind}: ${message}`),
  ];
}

function verdictWords(verdict: Verdict, registers: RegisterVerdict, ms: number): string[] {
  const counts = `${grouped(verdict.operations)} operations, ${grouped(verdict.keys)} keys, ${grouped(ms)} ms`;
  if (verdict.violation !== null) {
    const { part, keys } = verdict.violation;
    const hidden = part.length - SHOWN_MAX;
    return [
      `✖ violation: ${counts}`,
      `  These operations on ${keys.map((key) => JSON.stringify(key)).join(", ")} have no order that explains them:`,
      ...part.slice(-SHOWN_MAX).map((operation) => `  ${sentenceOf(operation)}`),
      ...(hidden > 0 ? [`  and ${grouped(hidden)} operations before these (--json writes all)`] : []),
    ];
  }
  if (verdict.verdict === "linearizable") return [`✔ linearizable: ${counts}`];
  if (registers.faults.length > 0) return [`✖ violation: ${counts}`];
  const shown = verdict.reasons.slice(0, 10);
  return [
    `? unknown: ${counts}`,
    ...shown.map((reason) => `  ${reason}`),
    ...(shown.length < verdict.reasons.length ? [`  and ${verdict.reasons.length - shown.length} more reasons`] : []),
  ];
}

function sentenceOf(operation: Operation): string {
  const { process, op, args, result, outcome, invokedNs, completedNs } = operation;
  const call = `${op} ${args.map((argument) => clipped(argument)).join(" ")}`.trimEnd();
  const told = outcome === "ok" ? clipped(result) : "outcome unknown";
  const until = completedNs === Infinity ? "…" : String(completedNs);
  return `[${invokedNs}, ${until}] ns  process ${process}: ${call} → ${told}`;
}

function clipped(value: unknown): string {
  const text = JSON.stringify(value) ?? "null";
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
