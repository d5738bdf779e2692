/** Levels of the log of operation, each including those after it. */
export const LOG_LEVELS = ["info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What is logged unless told otherwise: a person at a terminal reads the command's own words and sees only trouble. */
export function defaultLogLevel(): LogLevel {
  return process.stderr.isTTY ? "warn" : "info";
}
