import { crc32 } from "node:zlib";
import { decodeUtf8, encodeUtf8, KiB } from "../../base/index.js";
import { ConfigError, FormatVersionError, type StorageError } from "../../model/index.js";
import type { Identity, IdentityStore } from "../port.js";
import { type Done, errorCode, type FileSystem, storageError } from "./file-system.js";

/** An identity takes a few hundred bytes; a longer file is none. */
const identityBytesMax = 64 * KiB;
const identityFormat = 1;

/**
 * The identity as a JSON file, replaced as a whole: written under a temporary name, synced, renamed. Its checksum tells a
 * changed digit from a fact, since `started` and `amnesiaNonce` decide whether this replica may vote.
 */
export class IdentityFile implements IdentityStore {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #clusterId: string;
  #saving = false;

  constructor(fs: FileSystem, directory: string, clusterId: string) {
    this.#fs = fs;
    this.#directory = directory;
    this.#clusterId = clusterId;
  }

  get #path(): string {
    return `${this.#directory}/identity`;
  }

  /** Fails for one that can't be read (`StorageError`), a newer format and one of another cluster. */
  load(done: (error: Error | null, identity: Identity | "damaged" | null) => void): void {
    // Reading errs as well as storing: what seems damaged, or of a format that is not known, is read a second time.
    this.#load((error, found) => {
      if (found === "damaged" || error instanceof FormatVersionError) this.#load(done);
      else done(error, found);
    });
  }

  #load(done: (error: Error | null, identity: Identity | "damaged" | null) => void): void {
    this.#fs.open(this.#path, "read", (error, file, bytes) => {
      if (error !== null && errorCode(error) === "ENOENT") return done(null, null);
      if (error !== null || file === null) return done(this.#failure("read", error), null);
      const content = new Uint8Array(Math.min(bytes, identityBytesMax));
      file.read(content, 0, content.length, 0, (failure, count) => {
        file.close(() => {
          if (failure !== null || count < bytes) return done(this.#failure("read", failure), null);
          const parsed = this.#parse(decodeUtf8(content));
          if (parsed instanceof Error) done(parsed, null);
          else done(null, parsed);
        });
      });
    });
  }

  save(identity: Identity, done: Done): void {
    if (this.#saving) throw new Error("one identity is saved at a time");
    this.#saving = true;
    const unfinished = `${this.#path}.unfinished`;
    const content = encodeUtf8(`${JSON.stringify({ ...identity, checksum: checksumOf(identity) }, null, 2)}\n`);
    const end = (error: Error | null): void => {
      this.#saving = false;
      done(error === null ? null : this.#failure("write", error));
    };
    this.#fs.makeDirectory(this.#directory, (error) => {
      if (error !== null) return end(error);
      this.#fs.open(unfinished, "create", (failure, file) => {
        if (failure !== null || file === null) return end(failure ?? new Error("no file"));
        const write = (next: Done): void =>
          file.write(content, 0, content.length, 0, (problem) => (problem === null ? file.sync(next) : next(problem)));
        write((problem) => {
          file.close(() => {
            if (problem !== null) return end(problem);
            this.#fs.rename(unfinished, this.#path, (renaming) => {
              if (renaming !== null) return end(renaming);
              this.#fs.syncDirectory(this.#directory, end);
            });
          });
        });
      });
    });
  }

  bootId(): string {
    return this.#fs.bootId();
  }

  #failure(verb: string, error: Error | null): StorageError {
    return storageError(`cannot ${verb} ${this.#path}`, error ?? new Error("it is incomplete"));
  }

  #parse(text: string): Identity | "damaged" | Error {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return "damaged";
    }
    if (typeof value !== "object" || value === null) return "damaged";
    const stored = value as Stored;
    const identity = identityOf(stored);
    const holds = identity !== null && stored.checksum === checksumOf(identity);
    const { format } = stored;
    if (format === identityFormat && holds) {
      if (identity.clusterId === this.#clusterId) return identity;
      return new ConfigError(`${this.#path} belongs to cluster ${identity.clusterId}, not to ${this.#clusterId}`);
    }
    // A newer format has a checksum of its own: one that holds for this format is that of a damaged digit.
    if (typeof format === "number" && format > identityFormat && !holds) {
      return new FormatVersionError(`${this.#path} has format ${format}; this program reads up to ${identityFormat}`);
    }
    return "damaged";
  }
}

type Stored = Partial<Record<keyof Identity | "checksum", unknown>>;

/** The fields of this format, whatever format they say that they are of; null if any is missing or of a wrong type. */
function identityOf(stored: Stored): Identity | null {
  const { clusterId, replica, durability, bootId, started, amnesiaNonce, shape, logExtent } = stored;
  if (
    typeof clusterId !== "string" ||
    typeof replica !== "number" ||
    typeof durability !== "string" ||
    typeof bootId !== "string" ||
    typeof started !== "boolean" ||
    typeof amnesiaNonce !== "number" ||
    (shape !== undefined && typeof shape !== "string") ||
    (logExtent !== undefined && typeof logExtent !== "number")
  ) {
    return null;
  }
  return {
    format: identityFormat,
    clusterId,
    replica,
    durability,
    bootId,
    started,
    amnesiaNonce,
    ...(shape === undefined ? {} : { shape }),
    ...(logExtent === undefined ? {} : { logExtent }),
  };
}

function checksumOf(identity: Identity): string {
  const { format, clusterId, replica, durability, bootId, started, amnesiaNonce, shape, logExtent } = identity;
  const fields = [format, clusterId, replica, durability, bootId, started, amnesiaNonce];
  // What earlier versions did not know is not counted when it is absent. The types tell the two apart.
  const added = [shape, logExtent].filter((field) => field !== undefined);
  return crc32(JSON.stringify([...fields, ...added]))
    .toString(16)
    .padStart(8, "0");
}
