/** Memory of another process, as the kernel counts it. */
import { readFileSync } from "node:fs";

/** The most that a process had resident so far, in MiB. */
export function residentPeakMiB(pid: number): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1]) / 1024;
}
