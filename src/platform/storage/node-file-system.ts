import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import { dirname } from "node:path";
import type { Done, FileSystem, OpenMode, StoredFile } from "./file-system.js";

const { O_CREAT, O_DSYNC, O_RDONLY, O_RDWR, O_TRUNC } = fs.constants;
// Where the system has no O_DSYNC, O_SYNC does more than is needed.
const synced = (O_DSYNC as number | undefined) ?? fs.constants.O_SYNC;
const flagsOf: Readonly<Record<OpenMode, number>> = {
  read: O_RDONLY,
  write: O_RDWR,
  create: O_RDWR | O_CREAT | O_TRUNC,
  "write synced": O_RDWR | synced,
  "create synced": O_RDWR | O_CREAT | O_TRUNC | synced,
};

/** The machine's own files, through the callback functions of `node:fs` (their work runs in the thread pool). */
export class NodeFileSystem implements FileSystem {
  readonly #bootId = readBootId();

  open(
    path: string,
    mode: OpenMode,
    done: (error: Error | null, file: StoredFile | null, bytes: number) => void,
  ): void {
    fs.open(path, flagsOf[mode], 0o640, (error, descriptor) => {
      if (error !== null) return done(error, null, 0);
      fs.fstat(descriptor, (failure, stats) => {
        if (failure === null) return done(null, new NodeFile(descriptor), stats.size);
        fs.close(descriptor, () => done(failure, null, 0));
      });
    });
  }

  rename(from: string, to: string, done: Done): void {
    fs.rename(from, to, done);
  }

  remove(path: string, done: Done): void {
    fs.unlink(path, done);
  }

  list(directory: string, done: (error: Error | null, names: string[]) => void): void {
    fs.readdir(directory, { withFileTypes: true }, (error, entries) => {
      if (error !== null) return done(error, []);
      done(
        null,
        entries.filter((entry) => entry.isFile()).map((entry) => entry.name),
      );
    });
  }

  syncDirectory(directory: string, done: Done): void {
    fs.open(directory, "r", (error, descriptor) => {
      if (error !== null) return done(error);
      fs.fsync(descriptor, (failure) => {
        fs.close(descriptor, (closing) => done(failure ?? closing ?? null));
      });
    });
  }

  makeDirectory(directory: string, done: Done): void {
    fs.mkdir(directory, { recursive: true, mode: 0o750 }, (error, first) => {
      if (error !== null) return done(error);
      if (first === undefined) return done(null);
      // Each created name becomes durable by a sync of the directory it stands in.
      const parents: string[] = [];
      for (let path = directory; ; path = dirname(path)) {
        parents.push(dirname(path));
        if (path === first || path === dirname(path)) break;
      }
      const next = (): void => {
        const parent = parents.pop();
        if (parent === undefined) return done(null);
        this.syncDirectory(parent, (failure) => (failure === null ? next() : done(failure)));
      };
      next();
    });
  }

  bootId(): string {
    return this.#bootId;
  }
}

class NodeFile implements StoredFile {
  readonly #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  write(bytes: Uint8Array, start: number, end: number, offset: number, done: Done): void {
    fs.write(this.#descriptor, bytes, start, end - start, offset, (error, count) => {
      if (error !== null) return done(error);
      if (count === end - start) return done(null);
      // A short write is not a failure: the rest follows, and what is in its way (a full disk) shows there.
      this.write(bytes, start + count, end, offset + count, done);
    });
  }

  read(
    into: Uint8Array,
    start: number,
    end: number,
    offset: number,
    done: (error: Error | null, count: number) => void,
  ): void {
    const step = (from: number): void => {
      fs.read(this.#descriptor, into, from, end - from, offset + (from - start), (error, count) => {
        if (error !== null) return done(error, 0);
        if (count === 0 || from + count === end) return done(null, from + count - start);
        step(from + count);
      });
    };
    step(start);
  }

  sync(done: Done): void {
    fs.fdatasync(this.#descriptor, done);
  }

  close(done: Done): void {
    fs.close(this.#descriptor, (error) => done(error ?? null));
  }
}

/** Where the system does not tell its boots apart, every process counts as one: the safe side for unsynced data. */
export function readBootId(): string {
  try {
    return fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return randomUUID();
  }
}
