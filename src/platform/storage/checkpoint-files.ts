import { assert, ByteWriter, KiB, MiB } from "../../base/index.js";
import { CheckpointDamagedError, type Instance } from "../../model/index.js";
import type { CheckpointInfo, CheckpointReader, CheckpointStore, CheckpointWriter } from "../port.js";
import { clusterIdBytes } from "./batch-format.js";
import { CheckpointDecoder, CheckpointEncoder } from "./checkpoint-format.js";
import { checkpointsMax, checkpointSyncBytes, chunkBytesMax } from "./config.js";
import { type Done, type FileSystem, type StoredFile, storageError } from "./file-system.js";

export interface FileCheckpointsInit {
  readonly fs: FileSystem;
  /** Holds the checkpoints and nothing else; created if it is not there. */
  readonly directory: string;
  readonly clusterId: string;
  readonly onDamaged?: ((path: string, reason: string) => void) | undefined;
}

const completeName = /^checkpoint-(\d{1,16})$/;
const unfinishedName = /^checkpoint-\d{1,16}\.\d+\.unfinished$/;

/**
 * Checkpoints as files. One is written under a temporary name and takes its real one only when all of it is durable, so a
 * file with a real name is complete unless the disk damaged it.
 */
export class FileCheckpoints implements CheckpointStore {
  readonly #init: FileCheckpointsInit;
  /** Checkpoints believed to be good, newest first. */
  #kept: Instance[] = [];
  #serial = 0;
  #writing = false;

  constructor(init: FileCheckpointsInit) {
    this.#init = init;
  }

  open(done: (error: Error | null, latest: CheckpointInfo | null) => void): void {
    const { fs, directory } = this.#init;
    fs.makeDirectory(directory, (error) => {
      if (error !== null) return done(storageError(`cannot create ${directory}`, error), null);
      fs.list(directory, (failure, names) => {
        if (failure !== null) return done(storageError(`cannot list ${directory}`, failure), null);
        const unfinished = names.filter((name) => unfinishedName.test(name)).sort();
        const complete = names.flatMap((name) => completeName.exec(name)?.[1] ?? []).map(Number);
        complete.sort((a, b) => b - a);
        for (const name of unfinished) this.#init.onDamaged?.(`${directory}/${name}`, "it was never finished");
        this.#removeAll(unfinished, (problem) => {
          if (problem !== null) return done(problem, null);
          this.#newest(complete, done);
        });
      });
    });
  }

  /** Passes over damaged checkpoints until one is complete; older ones are not read until they are needed. */
  #newest(candidates: Instance[], done: (error: Error | null, latest: CheckpointInfo | null) => void): void {
    const through = candidates[0];
    this.#kept = candidates.slice(0, checkpointsMax);
    if (through === undefined) return done(null, null);
    const reader = new FileCheckpointReader(this.#init, this.#path(through), through);
    const next = (): void =>
      reader.nextPart((error, chunk, footer) => {
        if (chunk !== null) return next();
        reader.close();
        if (footer !== null) done(null, { through, digest: footer.digest, bytes: footer.bytes });
        else if (error instanceof CheckpointDamagedError) {
          this.#init.onDamaged?.(this.#path(through), error.message);
          this.#newest(candidates.slice(1), done);
        } else done(error, null);
      });
    next();
  }

  begin(through: Instance): CheckpointWriter {
    assert(!this.#writing, "one checkpoint is written at a time");
    assert(Number.isSafeInteger(through) && through >= 0, `a checkpoint covers a whole instance, got ${through}`);
    this.#writing = true;
    const unfinished = `${this.#path(through)}.${++this.#serial}.unfinished`;
    return new FileCheckpointWriter(this.#init, unfinished, this.#path(through), through, {
      committed: (done) => {
        this.#kept = [through, ...this.#kept.filter((kept) => kept !== through)]
          .sort((a, b) => b - a)
          .slice(0, checkpointsMax);
        this.#removeOthers(done);
      },
      ended: () => {
        this.#writing = false;
      },
    });
  }

  read(through: Instance): CheckpointReader {
    return new FileCheckpointReader(this.#init, this.#path(through), through);
  }

  /** Removes every complete checkpoint that is not kept: older ones, and damaged ones that were passed over. */
  #removeOthers(done: Done): void {
    const { fs, directory } = this.#init;
    fs.list(directory, (error, names) => {
      if (error !== null) return done(storageError(`cannot list ${directory}`, error));
      const others = names.filter((name) => {
        const through = completeName.exec(name)?.[1];
        return through !== undefined && !this.#kept.includes(Number(through));
      });
      this.#removeAll(others.sort(), done);
    });
  }

  #removeAll(names: readonly string[], done: Done): void {
    const { fs, directory } = this.#init;
    const next = (index: number): void => {
      const name = names[index];
      if (name === undefined) return done(null);
      fs.remove(`${directory}/${name}`, (error) => {
        if (error === null) next(index + 1);
        else done(storageError(`cannot remove ${directory}/${name}`, error));
      });
    };
    next(0);
  }

  #path(through: Instance): string {
    return `${this.#init.directory}/checkpoint-${through}`;
  }
}

interface WriterEnds {
  /** The checkpoint is durable under its name: what it replaces is removed. */
  committed(done: Done): void;
  /** Another one may begin. */
  ended(): void;
}

class FileCheckpointWriter implements CheckpointWriter {
  readonly #init: FileCheckpointsInit;
  readonly #unfinished: string;
  readonly #path: string;
  readonly #through: Instance;
  readonly #ends: WriterEnds;
  readonly #encoder = new CheckpointEncoder();
  readonly #buffer = new ByteWriter(4 * KiB, chunkBytesMax + 1 * MiB);
  #file: StoredFile | null = null;
  #offset = 0;
  #unsynced = 0;
  #busy = false;
  #state: "open" | "ended" | "aborted" = "open";

  constructor(init: FileCheckpointsInit, unfinished: string, path: string, through: Instance, ends: WriterEnds) {
    this.#init = init;
    this.#unfinished = unfinished;
    this.#path = path;
    this.#through = through;
    this.#ends = ends;
    this.#encoder.header(this.#buffer, clusterIdBytes(init.clusterId), through);
  }

  write(bytes: Uint8Array, start: number, end: number, done: Done): void {
    this.#enter();
    // An empty chunk says nothing and has no place in the format.
    if (end > start) this.#encoder.chunk(this.#buffer, bytes, start, end);
    this.#append((error) => {
      if (error !== null || this.#unsynced < checkpointSyncBytes) return this.#leave(error, done);
      this.#sync((failure) => this.#leave(failure, done));
    });
  }

  commit(digest: string, done: (error: Error | null, info: CheckpointInfo | null) => void): void {
    this.#enter();
    const { fs, directory } = this.#init;
    this.#encoder.footer(this.#buffer, digest);
    const end: Done = (error) => {
      if (this.#state === "open") {
        this.#state = "ended";
        this.#ends.ended();
      }
      this.#leave(error, (wrapped) => {
        const info = { through: this.#through, digest, bytes: this.#encoder.bytes };
        done(wrapped, wrapped === null ? info : null);
      });
    };
    this.#append((error) => {
      if (error !== null) return end(error);
      this.#sync((failure) => {
        if (failure !== null || this.#state === "aborted") return end(failure);
        fs.rename(this.#unfinished, this.#path, (problem) => {
          if (problem !== null) return end(problem);
          fs.syncDirectory(directory, (trouble) => (trouble === null ? this.#ends.committed(end) : end(trouble)));
        });
      });
    });
  }

  /** Gives the checkpoint up. Nothing calls back any more; a commit that is under way may still succeed. */
  abort(): void {
    if (this.#state !== "open") return;
    this.#state = "aborted";
    this.#ends.ended();
    if (!this.#busy) this.#discard();
  }

  #enter(): void {
    assert(this.#state === "open", `the checkpoint is ${this.#state}`);
    assert(!this.#busy, "the chunk before is not written yet");
    this.#busy = true;
  }

  #leave(error: Error | null, done: Done): void {
    this.#busy = false;
    if (this.#state === "aborted") return this.#discard();
    const finish = (): void => done(error === null ? null : storageError(`cannot write ${this.#unfinished}`, error));
    if (this.#state === "open" && error !== null) {
      this.#state = "ended";
      this.#ends.ended();
    }
    if (this.#state === "open" || this.#file === null) return finish();
    const file = this.#file;
    this.#file = null;
    file.close(finish);
  }

  /** Writes what the buffer holds; the first time, creates the file. */
  #append(done: Done): void {
    const file = this.#file;
    if (file === null) {
      this.#init.fs.open(this.#unfinished, "create", (error, created) => {
        this.#file = created;
        if (created === null) done(error ?? new Error("no file"));
        else this.#append(done);
      });
      return;
    }
    const count = this.#buffer.length;
    file.write(this.#buffer.bytes, 0, count, this.#offset, (error) => {
      this.#offset += count;
      this.#unsynced += count;
      this.#buffer.clear();
      done(error);
    });
  }

  #sync(done: Done): void {
    this.#unsynced = 0;
    if (this.#file === null) done(new Error("the file is closed"));
    else this.#file.sync(done);
  }

  /** An unfinished file that can't be removed now is removed when the store is opened next. */
  #discard(): void {
    const remove = (): void => this.#init.fs.remove(this.#unfinished, () => {});
    const file = this.#file;
    this.#file = null;
    if (file !== null) file.close(remove);
  }
}

class FileCheckpointReader implements CheckpointReader {
  readonly #init: FileCheckpointsInit;
  readonly #path: string;
  readonly #through: Instance;
  #file: StoredFile | null = null;
  #decoder: CheckpointDecoder | null = null;
  #reading = false;
  #closed = false;

  constructor(init: FileCheckpointsInit, path: string, through: Instance) {
    this.#init = init;
    this.#path = path;
    this.#through = through;
  }

  next(done: (error: Error | null, chunk: Uint8Array | null) => void): void {
    this.nextPart((error, chunk) => done(error, chunk));
  }

  /** Like `next`, and the footer at the end. */
  nextPart(done: Parameters<CheckpointDecoder["next"]>[0]): void {
    assert(!this.#reading && !this.#closed, "one chunk is read at a time, and none after closing");
    this.#reading = true;
    const end: typeof done = (error, chunk, footer) => {
      this.#reading = false;
      // Closing waited for the read under way; its outcome interests nobody.
      if (this.#closed) return this.#closeFile();
      done(error, chunk, footer);
    };
    if (this.#decoder !== null) return this.#decoder.next(end);
    this.#init.fs.open(this.#path, "read", (error, file, bytes) => {
      if (file === null) {
        return end(storageError(`cannot open ${this.#path}`, error ?? new Error("no file")), null, null);
      }
      this.#file = file;
      this.#decoder = new CheckpointDecoder(file, this.#path, bytes, this.#init.clusterId, this.#through);
      this.#decoder.next(end);
    });
  }

  close(): void {
    this.#closed = true;
    if (!this.#reading) this.#closeFile();
  }

  #closeFile(): void {
    const file = this.#file;
    this.#file = null;
    file?.close(() => {});
  }
}
