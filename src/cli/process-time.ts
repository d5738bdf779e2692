import { readFileSync } from "node:fs";

/** Kernel clock ticks a second in /proc/PID/stat: a constant of the Linux interface, whatever the kernel's own rate. */
const TICKS_PER_SECOND = 100;

/** CPU seconds, of all threads, in user and kernel mode, that a process has used; null if it is gone or this is not Linux. */
export function cpuSeconds(pid: number): number | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
  // The second field is the program's name in brackets and may hold anything; what follows the last bracket is numbers.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [user, kernel] = [Number(fields[11]), Number(fields[12])];
  return Number.isFinite(user + kernel) ? (user + kernel) / TICKS_PER_SECOND : null;
}
