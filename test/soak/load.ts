/** Saturating load from a process of its own, and what the processes of a cluster use meanwhile. */
import { readFileSync } from "node:fs";
import { type JsonLine, SynodProcess } from "../cli/synod-process.js";

export interface BenchResult {
  readonly throughput: number;
  readonly errors: number;
  readonly latency_ms: Readonly<Record<string, number>>;
}

/** `synod bench` against a running cluster: 2048 commands outstanding. */
export class SaturatingLoad {
  readonly #process: SynodProcess;

  constructor(directory: string, seconds: number, workload = "put", extra: readonly string[] = []) {
    const flags = ["--clients", "8", "--window", "256", "--keys", "20000", "--workload", workload];
    this.#process = new SynodProcess([
      "bench",
      "--data",
      directory,
      "--seconds",
      String(seconds),
      "--json",
      ...flags,
      ...extra,
    ]);
  }

  /** The figures, when the load has ended by itself. */
  async result(): Promise<{ code: number | null; result: BenchResult | null; stderr: string }> {
    const code = await this.#process.exit();
    const line = this.#process.lines.find((candidate: JsonLine) => "throughput" in candidate);
    return { code, result: (line as unknown as BenchResult | undefined) ?? null, stderr: this.#process.stderr };
  }

  async abort(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exit();
  }
}

/** Resident memory of a process in MiB. */
export function residentMiB(pid: number): number {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return line === null ? 0 : Math.round(Number(line[1]) / 1024);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
