import * as fs from "node:fs";
import { LockedError } from "../../model/index.js";
import { readBootId } from "./node-file-system.js";

/**
 * A directory's lock: an empty file `lock-<pid>-<start>-<boot>` per process that holds or wants it, where `start` is when
 * the process began (clock ticks since boot) and `boot` is the boot it began in. The three together name one process for
 * ever, so the file of a killed process is recognised even if its pid has been given to another one.
 *
 * Taking it: create one's own file, then look for others. Of two that try at once, whoever looks last sees the other's
 * file, so at most one of them gets the lock (and possibly neither). Only files of dead processes are removed by others;
 * the dead don't come back, so a removal can never hit a lock that is held. Processes that can't see each other (in
 * containers with pid namespaces of their own) are not protected from each other.
 */
const namePattern = /^lock-(\d{1,10})-(\d{1,20})-([0-9a-f]{1,12})$/;

/**
 * Takes the lock of `directory`, which is created if need be, and returns the function that releases it. Throws
 * `LockedError` ("… locked by pid N") while a live process holds it, this one included.
 */
export function acquireLock(directory: string): () => void {
  fs.mkdirSync(directory, { recursive: true, mode: 0o750 });
  const boot = bootTag();
  const own = `lock-${process.pid}-${startOf(process.pid) ?? "0"}-${boot}`;
  const path = `${directory}/${own}`;
  try {
    fs.closeSync(fs.openSync(path, "wx", 0o640));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") throw lockedBy(directory, process.pid);
    throw error;
  }
  for (const name of fs.readdirSync(directory)) {
    const match = namePattern.exec(name);
    if (match === null || name === own) continue;
    if (isAlive(match, boot)) {
      fs.rmSync(path, { force: true });
      throw lockedBy(directory, Number(match[1]));
    }
    fs.rmSync(`${directory}/${name}`, { force: true });
  }
  let released = false;
  return () => {
    if (released) return;
    released = true;
    fs.rmSync(path, { force: true });
  };
}

/** The pid of the live process that holds the directory's lock, or null. */
export function lockHolder(directory: string): number | null {
  const boot = bootTag();
  let names: string[];
  try {
    names = fs.readdirSync(directory);
  } catch {
    return null;
  }
  for (const name of names) {
    const match = namePattern.exec(name);
    if (match !== null && isAlive(match, boot)) return Number(match[1]);
  }
  return null;
}

function lockedBy(directory: string, pid: number): LockedError {
  return new LockedError(`${directory} is locked by pid ${pid}`);
}

function isAlive(match: RegExpExecArray, boot: string): boolean {
  return match[3] === boot && startOf(Number(match[1])) === match[2];
}

/** When a live process began, in clock ticks since boot; null if there is none with that pid, or nothing of it runs. */
function startOf(pid: number): string | null {
  let stat: string;
  try {
    stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return fs.existsSync("/proc/self/stat") ? null : startWithoutProc(pid);
  }
  // The second field is the program's name in parentheses, which may hold blanks and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return isDead(fields[0]) && !hasLiveThread(pid) ? null : (fields[19] ?? "0");
}

function isDead(state: string | undefined): boolean {
  return state === "Z" || state === "X";
}

/**
 * A killed process is a zombie as soon as its main thread is gone, while a thread of its pool may still be inside a write
 * to the log. Taking the lock then would let that write land in a file that the next process already uses.
 */
function hasLiveThread(pid: number): boolean {
  let threads: string[];
  try {
    threads = fs.readdirSync(`/proc/${pid}/task`);
  } catch {
    return false;
  }
  return threads.some((thread) => {
    try {
      const stat = fs.readFileSync(`/proc/${pid}/task/${thread}/stat`, "latin1");
      return !isDead(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[0]);
    } catch {
      return false;
    }
  });
}

/** Without /proc every live process counts as the one that began at "0": a pid given away again blocks until removed. */
function startWithoutProc(pid: number): string | null {
  try {
    process.kill(pid, 0);
    return "0";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? "0" : null;
  }
}

function bootTag(): string {
  // Where boots can't be told apart, locks of all of them count; the start of the process still tells most apart.
  return fs.existsSync("/proc/sys/kernel/random/boot_id") ? readBootId().replaceAll("-", "").slice(0, 12) : "0";
}
