import { ExitCode } from "../model/index.js";
import { type LongRunResult, runLong } from "../sim/index.js";
import { type CheckStreams, Progress, processStreams } from "./check-streams.js";
import { grouped } from "./output.js";

export interface WitnessFlags {
  readonly operations: number;
  readonly service: string;
  readonly seed: number;
  readonly json: boolean;
}

/**
 * `synod check --simulate OPERATIONS`: runs one simulated cluster under faults until clients have been answered so many
 * commands, and checks it by the witness along the decided order, which takes ranges and transactions in its stride.
 *
 * Exit codes: 0 right, 5 violation, 1 unknown (with the reasons). With `json`, one object.
 */
export async function witnessCommand(flags: WitnessFlags, streams: CheckStreams = processStreams): Promise<number> {
  const started = performance.now();
  const progress = new Progress(streams, started);
  const result = runLong({
    ...flags,
    onProgress: (answered) => progress.show(`${grouped(answered)} of ${grouped(flags.operations)} operations`),
  });
  progress.clear();
  const ms = Math.round(performance.now() - started);
  if (flags.json) streams.out(`${JSON.stringify(reportOf(flags, result, ms))}\n`);
  else for (const line of wordsOf(flags, result, ms)) streams.out(`${line}\n`);
  const codes = { right: ExitCode.ok, violation: ExitCode.verdict, unknown: ExitCode.failed };
  return codes[result.verdict];
}

function reportOf({ service, seed }: WitnessFlags, result: LongRunResult, ms: number): object {
  const { verdict, invariant, message, counts, operations, virtualMs, elections, strikes } = result;
  return {
    verdict,
    service,
    seed,
    operations,
    commands: counts.commands,
    reads: counts.reads,
    answered: counts.answered,
    unjudged: counts.unjudged,
    virtual_ms: virtualMs,
    elections,
    faults: Object.fromEntries(strikes),
    ms,
    ...(verdict === "violation" ? { invariant, message } : {}),
    ...(verdict === "unknown" ? { reasons: counts.reasons } : {}),
  };
}

function wordsOf({ service, seed }: WitnessFlags, result: LongRunResult, ms: number): string[] {
  const { verdict, invariant, message, counts, operations, virtualMs, elections, strikes } = result;
  const marks = { right: "✔ right", violation: `✖ ${invariant}: ${message}`, unknown: "? unknown" };
  const struck = [...strikes].map(([fault, count]) => `${fault} ${count}`).join(", ");
  return [
    marks[verdict],
    `  ${grouped(operations)} operations of ${service} answered, seed ${seed}, ${grouped(virtualMs)} virtual ms, ${grouped(ms)} ms`,
    `  judged: ${grouped(counts.commands)} commands in the decided order, ${grouped(counts.reads)} reads beside it, ` +
      `${grouped(counts.answered)} answers to clients`,
    `  faults: ${struck === "" ? "none" : struck}; ${elections} elections`,
    ...counts.reasons.map((reason) => `  not judged: ${reason}`),
  ];
}
