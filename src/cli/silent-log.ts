import type { EventLog } from "../platform/index.js";

/** For commands whose own words say what a person needs to know: lost connections are part of their answer. */
export const silentLog: EventLog = {
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
