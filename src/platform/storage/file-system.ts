import { StorageError } from "../../model/index.js";

/**
 * What log, checkpoints and identity need of a file system. It is as small as it is so that a simulated disk can stand in
 * for the real one under the very same code.
 *
 * Every operation calls back exactly once and never inside the call itself. Errors carry the operating system's `code`.
 * Nothing written is durable before `sync`, unless the file was opened so; no created, renamed or removed name is durable before `syncDirectory`.
 */
export interface FileSystem {
  /** `create` makes the file or empties it, the others need it to exist. `bytes` is its length. */
  open(path: string, mode: OpenMode, done: (error: Error | null, file: StoredFile | null, bytes: number) => void): void;
  /** Replaces what `to` names. */
  rename(from: string, to: string, done: Done): void;
  remove(path: string, done: Done): void;
  /** The names of the files in a directory, in no particular order. */
  list(directory: string, done: (error: Error | null, names: string[]) => void): void;
  syncDirectory(directory: string, done: Done): void;
  /** Creates the directory and those above it, durably; one that exists stays as it is. */
  makeDirectory(directory: string, done: Done): void;
  /** Names the present boot of the operating system; what was written without sync survives only within one boot. */
  bootId(): string;
}

/**
 * `synced`: each write calls back only when it is durable, along with the length the file needs for it. One such write is
 * one trip to the thread pool, where a write and a sync are two.
 */
export type OpenMode = "read" | "write" | "create" | "write synced" | "create synced";
export type Done = (error: Error | null) => void;

export interface StoredFile {
  /** Writes `bytes[start, end)` at `offset`, all of it or fails. The bytes may not change before `done`. */
  write(bytes: Uint8Array, start: number, end: number, offset: number, done: Done): void;
  /** Fills `into[start, end)` from `offset`; `count` falls short only where the file ends. */
  read(
    into: Uint8Array,
    start: number,
    end: number,
    offset: number,
    done: (error: Error | null, count: number) => void,
  ): void;
  /** Makes everything durable whose `write` has called back, and the file's length. */
  sync(done: Done): void;
  close(done: Done): void;
}

/** The operating system's name of an error, "" if it has none. */
export function errorCode(error: Error): string {
  const code: unknown = "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}

/** Wraps an error of the file system, saying what failed; full disks and used-up quotas are told apart from the rest. */
export function storageError(what: string, error: Error): StorageError {
  if (error instanceof StorageError) return error;
  const code = errorCode(error);
  const diskFull = code === "ENOSPC" || code === "EDQUOT";
  return new StorageError(`${what}: ${error.message}`, diskFull, { cause: error });
}
