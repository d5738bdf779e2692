/** Somebody who sends commands to a simulated cluster. */
export interface LoadClient {
  /** From now on it completes this many commands more, one after the other wherever it sends several at once, and rests. */
  finish(commands: number): void;
  /** It rests, and everything it sent is answered. */
  readonly idle: boolean;
  /** What it still waits for, for a report. */
  readonly waitsFor: string;
  /** Commands answered so far. */
  readonly completed: number;
  /** Dies with its commands under way, and lives again. */
  restart(): void;
  /** Its process stands still, as if stopped by a signal, until it is told to go on. True if it did not stand still before. */
  pause(): boolean;
  resume(): void;
}
