import { existsSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { crc32 } from "node:zlib";
import { assert, MiB } from "../../base/index.js";
import { BackupDamagedError, ConfigError, FormatVersionError, StorageError } from "../../model/index.js";
import {
  BACKUP_CHUNK_BYTES_MAX,
  BACKUP_FACTS_BYTES_MAX,
  BACKUP_FOOTER_BYTES,
  BACKUP_HEAD_BYTES,
  BACKUP_MAGIC,
  BACKUP_VERSION,
  type BackupFacts,
  isBackupFacts,
} from "./backup-format.js";

/** The file is synced whenever so much has come together, so that the last sync is not one of everything. */
const SYNC_BYTES = 16 * MiB;

/**
 * Writes a backup. It grows under a name of its own, `FILE.PID.unfinished`, and takes its real one only when all of it is
 * durable. Only its owner may read it: it holds everybody's data. Rejections are `StorageError`s; after one nothing is left but `abort`.
 */
export class BackupWriter {
  readonly #path: string;
  readonly #unfinished: string;
  readonly #file: FileHandle;
  #crc = 0;
  #bytes = 0;
  #chunks = 0;
  #unsynced = 0;

  private constructor(path: string, unfinished: string, file: FileHandle) {
    this.#path = path;
    this.#unfinished = unfinished;
    this.#file = file;
  }

  /** Throws `ConfigError` if there is something at `path` already, or no directory to hold it. */
  static async create(path: string, facts: BackupFacts): Promise<BackupWriter> {
    assertAbsent(path);
    const unfinished = `${path}.${process.pid}.unfinished`;
    const file = await stored(`can't create ${unfinished}`, open(unfinished, "wx", 0o600));
    const writer = new BackupWriter(path, unfinished, file);
    try {
      await writer.#header(facts);
    } catch (error) {
      await writer.abort();
      throw error;
    }
    return writer;
  }

  /** Bytes of the chunks written so far. */
  get bytes(): number {
    return this.#bytes;
  }

  async write(chunk: Uint8Array): Promise<void> {
    assert(chunk.length > 0 && chunk.length <= BACKUP_CHUNK_BYTES_MAX, `a chunk has ${chunk.length} bytes`);
    this.#crc = crc32(chunk, this.#crc);
    const head = Buffer.alloc(8);
    head.writeUInt32LE(chunk.length, 0);
    head.writeUInt32LE(this.#crc, 4);
    this.#bytes += chunk.length;
    this.#chunks++;
    await this.#append(head, chunk);
    if (this.#unsynced < SYNC_BYTES) return;
    this.#unsynced = 0;
    await stored(`can't sync ${this.#unfinished}`, this.#file.datasync());
  }

  /** Completes the file, durably and under its real name. */
  async commit(): Promise<void> {
    const footer = Buffer.alloc(BACKUP_FOOTER_BYTES);
    footer.writeDoubleLE(this.#bytes, 8);
    footer.writeDoubleLE(this.#chunks, 16);
    footer.writeUInt32LE(crc32(footer.subarray(8), this.#crc), 4);
    await this.#append(footer);
    await stored(`can't sync ${this.#unfinished}`, this.#file.sync());
    await stored(`can't close ${this.#unfinished}`, this.#file.close());
    assertAbsent(this.#path);
    await stored(`can't rename ${this.#unfinished}`, rename(this.#unfinished, this.#path));
    await syncFolder(dirname(resolve(this.#path)));
  }

  /** Removes what there is of it. Never rejects. */
  async abort(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await rm(this.#unfinished, { force: true }).catch(() => undefined);
  }

  async #header(facts: BackupFacts): Promise<void> {
    const text = Buffer.from(JSON.stringify(facts), "utf8");
    assert(text.length <= BACKUP_FACTS_BYTES_MAX, `the facts of a backup have ${text.length} bytes`);
    const head = Buffer.alloc(BACKUP_HEAD_BYTES);
    head.set(BACKUP_MAGIC);
    head.writeUInt32LE(BACKUP_VERSION, 8);
    head.writeUInt32LE(text.length, 12);
    this.#crc = crc32(text, crc32(head));
    const tail = Buffer.alloc(4);
    tail.writeUInt32LE(this.#crc, 0);
    await this.#append(head, text, tail);
  }

  async #append(...parts: readonly Uint8Array[]): Promise<void> {
    for (const part of parts) {
      for (let at = 0; at < part.length;) {
        const { bytesWritten } = await stored(
          `can't write ${this.#unfinished}`,
          this.#file.write(part, at, part.length - at),
        );
        at += bytesWritten;
        this.#unsynced += bytesWritten;
      }
    }
  }
}

/** What a backup is read from: an open file, as far as that is asked for. */
export interface BackupSource {
  stat(): Promise<{ readonly size: number }>;
  read(into: Uint8Array, at: number, count: number, position: number): Promise<{ readonly bytesRead: number }>;
  close(): Promise<void>;
}

/**
 * Reads a backup from its beginning to its end, and checks all of it on the way. Rejects with `BackupDamagedError`,
 * `FormatVersionError` or `StorageError`, and with `ConfigError` for a file that is no backup at all.
 */
export class BackupReader {
  readonly facts: BackupFacts;
  /** Bytes of the whole file. */
  readonly fileBytes: number;
  readonly #path: string;
  readonly #file: BackupSource;
  #offset: number;
  #crc: number;
  #bytes = 0;
  #chunks = 0;

  private constructor(
    path: string,
    file: BackupSource,
    fileBytes: number,
    facts: BackupFacts,
    at: number,
    crc: number,
  ) {
    this.#path = path;
    this.#file = file;
    this.fileBytes = fileBytes;
    this.facts = facts;
    this.#offset = at;
    this.#crc = crc;
  }

  static async open(path: string): Promise<BackupReader> {
    const file = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") throw new ConfigError(`there is no file ${path}`);
      if (error.code === "EACCES") throw new ConfigError(`${path} may not be read by this user`);
      throw new StorageError(`can't open ${path}: ${error.message}`, false, { cause: error });
    });
    try {
      if ((await file.stat()).isDirectory()) throw new ConfigError(`${path} is a directory, no backup of synod`);
      return await BackupReader.over(path, file);
    } catch (error) {
      await file.close().catch(() => undefined);
      throw error;
    }
  }

  /** Reads a file that is open already; `path` names it in errors. */
  static async over(path: string, file: BackupSource): Promise<BackupReader> {
    const { size, facts, at, crc } = await readHeader(path, file);
    return new BackupReader(path, file, size, facts, at, crc);
  }

  /** The next chunk, or null when the backup is complete and was whole. */
  async next(): Promise<Uint8Array | null> {
    const head = await this.#read(8, "it ends early");
    const length = head.readUInt32LE(0);
    const crc = head.readUInt32LE(4);
    if (length === 0) return this.#finish(crc);
    if (length > BACKUP_CHUNK_BYTES_MAX || length > this.fileBytes - this.#offset) {
      throw damaged(this.#path, `chunk ${this.#chunks} has an impossible length, ${length}`);
    }
    const chunk = await this.#read(length, "it ends early");
    this.#crc = crc32(chunk, this.#crc);
    if (this.#crc !== crc) throw damaged(this.#path, `chunk ${this.#chunks} is damaged`);
    this.#chunks++;
    this.#bytes += length;
    return chunk;
  }

  async close(): Promise<void> {
    await this.#file.close().catch(() => undefined);
  }

  async #finish(crc: number): Promise<null> {
    const rest = await this.#read(BACKUP_FOOTER_BYTES - 8, "it ends early");
    const whole =
      crc32(rest, this.#crc) === crc &&
      rest.readDoubleLE(0) === this.#bytes &&
      rest.readDoubleLE(8) === this.#chunks &&
      this.#offset === this.fileBytes;
    if (!whole) throw damaged(this.#path, "its end is damaged");
    return null;
  }

  async #read(count: number, otherwise: string): Promise<Buffer> {
    const bytes = await readAt(this.#path, this.#file, this.#offset, count);
    if (bytes.length < count) throw damaged(this.#path, otherwise);
    this.#offset += count;
    return bytes;
  }
}

interface Header {
  readonly size: number;
  readonly facts: BackupFacts;
  /** Where the first chunk begins, and the checksum that it continues. */
  readonly at: number;
  readonly crc: number;
}

async function readHeader(path: string, file: BackupSource): Promise<Header> {
  const { size } = await stored(`can't read ${path}`, file.stat());
  const head = await readAt(path, file, 0, BACKUP_HEAD_BYTES);
  if (head.length < BACKUP_MAGIC.length || !head.subarray(0, BACKUP_MAGIC.length).equals(BACKUP_MAGIC)) {
    throw new ConfigError(`${path} is no backup of synod`);
  }
  if (head.length < BACKUP_HEAD_BYTES) throw damaged(path, "it ends early");
  const version = head.readUInt32LE(8);
  if (version > BACKUP_VERSION) {
    throw new FormatVersionError(`${path} has backup format ${version}; this program reads up to ${BACKUP_VERSION}`);
  }
  const length = head.readUInt32LE(12);
  if (length > BACKUP_FACTS_BYTES_MAX) throw damaged(path, "its header is damaged");
  const text = await readAt(path, file, BACKUP_HEAD_BYTES, length + 4);
  if (text.length < length + 4) throw damaged(path, "it ends early");
  const crc = crc32(text.subarray(0, length), crc32(head));
  if (text.readUInt32LE(length) !== crc) throw damaged(path, "its header is damaged");
  let facts: unknown;
  try {
    facts = JSON.parse(text.toString("utf8", 0, length));
  } catch {
    throw damaged(path, "its facts are no JSON");
  }
  if (!isBackupFacts(facts)) throw damaged(path, "its facts are incomplete");
  return { size, facts, at: BACKUP_HEAD_BYTES + length + 4, crc };
}

async function readAt(path: string, file: BackupSource, offset: number, count: number): Promise<Buffer> {
  const bytes = Buffer.alloc(count);
  let filled = 0;
  while (filled < count) {
    const { bytesRead } = await stored(`can't read ${path}`, file.read(bytes, filled, count - filled, offset + filled));
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

/** Throws `ConfigError` if there is something at `path`, which a backup never replaces, or no directory to hold it. */
export function assertAbsent(path: string): void {
  if (existsSync(path)) throw new ConfigError(`${path} exists already; a backup replaces nothing`);
  const directory = dirname(resolve(path));
  if (!existsSync(directory)) throw new ConfigError(`there is no directory ${directory} for ${path}`);
}

/** Makes a directory's names durable. */
export async function syncFolder(directory: string): Promise<void> {
  const handle = await stored(`can't open ${directory}`, open(directory, "r"));
  try {
    await stored(`can't sync ${directory}`, handle.sync());
  } finally {
    await handle.close();
  }
}

function damaged(path: string, reason: string): BackupDamagedError {
  return new BackupDamagedError(`${path}: ${reason}`);
}

async function stored<T>(what: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const diskFull = code === "ENOSPC" || code === "EDQUOT";
    throw new StorageError(`${what}: ${message}`, diskFull, { cause: error });
  }
}
