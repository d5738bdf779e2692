import { pino } from "pino";
import type { EventLog } from "../platform/index.js";
import type { LogLevel } from "./log-level.js";

/**
 * The log of operation, on stderr: one JSON object a line, or on a terminal a line for people. Written synchronously, so
 * that the line which explains a sudden end is not lost with the process.
 */
export function createOperationLog(level: LogLevel, bindings: Readonly<Record<string, unknown>>): EventLog {
  const toFile = pino.destination({ dest: 2, sync: true });
  // Whoever reads the log may go away; the replica goes on without it.
  toFile.on("error", () => undefined);
  const destination = process.stderr.isTTY ? { write: (line: string) => toFile.write(readable(line)) } : toFile;
  const log = pino(
    { level, base: { pid: process.pid, ...bindings }, formatters: { level: (label) => ({ level: label }) } },
    destination,
  );
  return {
    info: (event, fields) => log.info(fields ?? {}, event),
    warn: (event, fields) => log.warn(fields ?? {}, event),
    error: (event, fields) => log.error(fields ?? {}, event),
  };
}

/** A line of JSON as `12:34:56.789 warn r2 link lost (peer=3 reason="reset")`. */
function readable(line: string): string {
  const { level, time, pid: _pid, replica, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const clock = new Date(Number(time)).toISOString().slice(11, 23);
  const who = replica === undefined ? "" : ` r${JSON.stringify(replica)}`;
  const details = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return `${clock} ${String(level)}${who} ${String(msg)}${details.length === 0 ? "" : ` (${details.join(" ")})`}\n`;
}
