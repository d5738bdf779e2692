import { closeSync, openSync, writeSync } from "node:fs";
import type { Prng } from "#src/base/index.js";
import { IndeterminateError, SessionExpiredError, TryAgainError } from "#src/model/index.js";
import {
  checkHistory,
  checkRegisters,
  formatHistoryLine,
  HistoryRecorder,
  operationEvents,
  type Verdict,
} from "#src/sim/index.js";
import { delay } from "../delay.js";

export interface LoadCounts {
  ok: number;
  /** Certainly not applied. */
  fail: number;
  /** Outcome unknown. */
  info: number;
  /** Longest time between two successes of any client, in ms. */
  longestGapMs: number;
}

export type Answer =
  { readonly outcome: "ok"; readonly result: unknown } | { readonly outcome: "fail" | "info"; readonly result: null };

/** What judges a run: the history, and what a service promises beyond it. */
export interface LoadVerdict extends Verdict {
  /** Promises of the service that were broken, in words; a bounded number of them. */
  readonly broken: readonly string[];
  /** Reads of what had been overwritten before they began, and the like, in words; the first of each kind. */
  readonly findings: readonly string[];
}

export interface LoadInit {
  /** RESP addresses of all replicas; empty for services without. */
  readonly resp: readonly string[];
  readonly client: readonly string[];
  /** Clients, each with a connection or session of its own. */
  readonly clients: number;
  /** Mean pause of a lane between two commands, in ms. */
  readonly pauseMs: number;
  readonly prng: Prng;
}

/** Broken promises that are worth their words; what follows says nothing new. */
const BROKEN_MAX = 20;

/** The load of a nemesis: clients that write down what they asked for and what they were told. */
export abstract class RecordedLoad {
  readonly init: LoadInit;
  readonly recorder = new HistoryRecorder();
  readonly counts: LoadCounts = { ok: 0, fail: 0, info: 0, longestGapMs: 0 };
  readonly #broken: string[] = [];
  readonly #running: Promise<void>[] = [];
  #lastOkAt = 0;
  #stopping = false;

  constructor(init: LoadInit) {
    this.init = init;
  }

  /** What is there before the load begins. */
  async prepare(): Promise<void> {}

  /** Reads everything once through each address: what was acknowledged has to be there. */
  abstract readAll(): Promise<void>;

  /** One client, until `stopping`. */
  protected abstract run(client: string, prng: Prng, index: number): Promise<void>;

  start(): void {
    this.#lastOkAt = this.now();
    for (let index = 0; index < this.init.clients; index++) {
      this.#running.push(this.run(`c${index}`, this.init.prng.fork(`client ${index}`), index));
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
  }

  verdict(): LoadVerdict {
    const verdict = checkHistory(this.recorder.operations);
    const broken = this.#broken;
    const findings = checkRegisters(this.recorder.operations).faults.map(({ message }) => message);
    const violated = broken.length > 0 || findings.length > 0;
    return { ...verdict, verdict: violated ? "violation" : verdict.verdict, broken, findings };
  }

  writeHistory(file: string): void {
    const out = openSync(file, "w");
    for (const operation of this.recorder.operations) {
      writeSync(
        out,
        operationEvents(operation)
          .map((event) => `${formatHistoryLine(event)}\n`)
          .join(""),
      );
    }
    closeSync(out);
  }

  protected get stopping(): boolean {
    return this.#stopping;
  }

  protected now(): number {
    return Number(process.hrtime.bigint());
  }

  protected break(words: string): void {
    if (this.#broken.length < BROKEN_MAX) this.#broken.push(words);
  }

  protected pause(prng: Prng): Promise<void> {
    return this.init.pauseMs > 0 ? delay(prng.float() * 2 * this.init.pauseMs) : Promise.resolve();
  }

  /** One operation with its two lines of history. */
  protected async perform(
    client: string,
    op: string,
    args: readonly unknown[],
    ask: () => Promise<Answer>,
  ): Promise<Answer> {
    this.recorder.invoke(client, op, args, this.now());
    const answer = await ask();
    this.recorder.complete(client, answer.outcome, answer.result, this.now());
    this.count(answer.outcome);
    return answer;
  }

  protected count(outcome: Answer["outcome"]): void {
    this.counts[outcome]++;
    if (outcome !== "ok") return;
    const now = this.now();
    this.counts.longestGapMs = Math.max(this.counts.longestGapMs, (now - this.#lastOkAt) / 1e6);
    this.#lastOkAt = now;
  }

  /** The answer of a native client's call; an error that says nothing about the outcome is thrown on. */
  protected async answerOf(call: Promise<unknown>): Promise<Answer> {
    try {
      return { outcome: "ok", result: await call };
    } catch (error) {
      if (error instanceof TryAgainError || error instanceof SessionExpiredError) return failed;
      if (error instanceof IndeterminateError) return unknown;
      throw error;
    }
  }
}

export const failed: Answer = { outcome: "fail", result: null };
export const unknown: Answer = { outcome: "info", result: null };

/** Opens what a client needs at one replica after the other, until that succeeds or the load stops. */
export async function opened<T>(
  addresses: readonly string[],
  first: number,
  stopping: () => boolean,
  open: (address: string) => Promise<T>,
): Promise<T | null> {
  for (let at = first; !stopping(); at++) {
    try {
      return await open(addresses[at % addresses.length] as string);
    } catch {
      await delay(20);
    }
  }
  return null;
}
