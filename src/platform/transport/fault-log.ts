import type { Clock, EventLog } from "../port.js";

/** So many lines of one event within one period; the rest are counted and the next line says how many they were. */
const LINES_MAX = 5;
const PERIOD_MS = 10_000;

interface Tally {
  periodStartMs: number;
  lines: number;
  suppressed: number;
}

/**
 * An EventLog for what strangers can cause at will: rate limited per event and reason, so that a flood of garbage can't
 * flood the log. Reasons come from the code, never from the wire: their number is bounded.
 */
export class FaultLog {
  readonly #events: EventLog;
  readonly #clock: Clock;
  readonly #tallies = new Map<string, Tally>();

  constructor(events: EventLog, clock: Clock) {
    this.#events = events;
    this.#clock = clock;
  }

  warn(event: string, reason: string, fields: Readonly<Record<string, unknown>>): void {
    this.#line("warn", event, reason, fields);
  }

  info(event: string, reason: string, fields: Readonly<Record<string, unknown>>): void {
    this.#line("info", event, reason, fields);
  }

  #line(level: "info" | "warn", event: string, reason: string, fields: Readonly<Record<string, unknown>>): void {
    const now = this.#clock.monotonicMs();
    const key = `${event} ${reason}`;
    let tally = this.#tallies.get(key);
    if (tally === undefined) {
      tally = { periodStartMs: now, lines: 0, suppressed: 0 };
      this.#tallies.set(key, tally);
    }
    if (now - tally.periodStartMs >= PERIOD_MS) {
      tally.periodStartMs = now;
      tally.lines = 0;
    }
    if (tally.lines >= LINES_MAX) {
      tally.suppressed++;
      return;
    }
    tally.lines++;
    const { suppressed } = tally;
    tally.suppressed = 0;
    this.#events[level](event, { reason, ...fields, ...(suppressed === 0 ? {} : { suppressedLines: suppressed }) });
  }
}
