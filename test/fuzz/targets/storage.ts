/** What a replica finds on its disk, and what is brought there from elsewhere. */
import { strict as assert } from "node:assert";
import { crc32 } from "node:zlib";
import { ByteWriter, encodeUtf8 } from "#src/base/index.js";
import {
  BackupDamagedError,
  CheckpointDamagedError,
  ConfigError,
  FormatVersionError,
  StorageError,
} from "#src/model/index.js";
import {
  type BatchStamp,
  batchHeaderBytes,
  batchVersion,
  clusterIdBytes,
  paddedLength,
  sealBatch,
  segmentName,
} from "#src/platform/storage/batch-format.js";
import { CheckpointDecoder, CheckpointEncoder } from "#src/platform/storage/checkpoint-format.js";
import type { Done, FileSystem, StoredFile } from "#src/platform/storage/file-system.js";
import { IdentityFile } from "#src/platform/storage/identity-file.js";
import { LogScan, type LogScanResult } from "#src/platform/storage/log-scan.js";
import { BackupReader } from "#src/runtime/node/backup-file.js";
import type { FuzzInput, FuzzTarget } from "../target.js";
import { decodeRecord, recordBytes } from "./wire.js";

const clusterId = "53594e4f44303031";
const idBytes = clusterIdBytes(clusterId);

/**
 * One file, whose content is an input, and which answers at once: the code under test takes either, and millions of inputs
 * need no event loop.
 */
class OneFile implements FileSystem, StoredFile {
  readonly #name: string;
  #input: FuzzInput | null = null;

  constructor(name: string) {
    this.#name = name;
  }

  hold(input: FuzzInput): void {
    this.#input = input;
  }

  get #bytes(): number {
    return this.#input === null ? 0 : this.#input.end - this.#input.start;
  }

  open(
    _path: string,
    _mode: string,
    done: (error: Error | null, file: StoredFile | null, bytes: number) => void,
  ): void {
    done(null, this, this.#bytes);
  }

  list(_directory: string, done: (error: Error | null, names: string[]) => void): void {
    done(null, [this.#name]);
  }

  read(
    into: Uint8Array,
    start: number,
    end: number,
    offset: number,
    done: (error: Error | null, count: number) => void,
  ) {
    assert.ok(end <= into.length && start <= end && offset >= 0);
    const { bytes, start: first } = this.#input as FuzzInput;
    const count = Math.max(0, Math.min(end - start, this.#bytes - offset));
    into.set(bytes.subarray(first + offset, first + offset + count), start);
    done(null, count);
  }

  close(done: Done): void {
    done(null);
  }

  bootId(): string {
    return "boot";
  }

  rename = refused;
  remove = refused;
  syncDirectory = refused;
  makeDirectory = refused;
  write = refused;
  sync = refused;
}

function refused(): never {
  throw new Error("a reader writes");
}

// The log.

const GENERATION = 3;

function logOf(groups: readonly (readonly Uint8Array[])[]): Uint8Array {
  const whole = new ByteWriter();
  groups.forEach((records, index) => {
    const writer = new ByteWriter();
    writer.skip(batchHeaderBytes);
    for (const record of records) {
      writer.u32(record.length);
      writer.copy(record, 0, record.length);
    }
    const stamp: BatchStamp = {
      generation: GENERATION,
      sequence: index + 1,
      confirmed: index,
      front: 1,
      instanceMax: 11,
      records: records.length,
      place: whole.length,
      reach: 11,
      facts: 0,
      factual: index === 0,
    };
    sealBatch(writer, stamp, idBytes);
    whole.copy(writer.bytes, 0, writer.length);
  });
  return whole.toBytes();
}

/** The checksum of every batch that stands where one may. */
function sealLog(bytes: Uint8Array, view: DataView, start: number, end: number): void {
  for (let at = start; end - at >= batchHeaderBytes;) {
    const length = view.getUint32(at + 12, true);
    if (length < batchHeaderBytes || length > end - at) {
      at += 512;
      continue;
    }
    view.setUint32(at, crc32(bytes.subarray(at + 4, at + length)), true);
    at += paddedLength(length);
  }
}

const logFile = new OneFile(segmentName(GENERATION));

const log: FuzzTarget = {
  name: "log",
  what: "segments of the log, with the records in them",
  corpus: [
    logOf([recordBytes]),
    logOf([recordBytes.slice(0, 1), recordBytes.slice(1), []]),
    logOf([recordBytes, recordBytes, recordBytes, []]),
  ],
  seal: sealLog,
  decode: (input) => {
    logFile.hold(input);
    let ended = false;
    let taken = false;
    let recordsTaken = 0;
    const scan = new LogScan(
      logFile,
      "log",
      clusterId,
      (bytes, view, start, end) => {
        assert.ok(start <= end && end <= bytes.length);
        if (decodeRecord({ bytes, view, start, end })) recordsTaken++;
      },
      (error, result) => {
        assert.ok(!ended, "a scan ends once");
        ended = true;
        if (error !== null) return expected(error);
        const { segments, sequence } = result as LogScanResult;
        assert.equal(segments.length, 1);
        assert.ok(!(sequence < 0));
        taken = recordsTaken > 0;
      },
    );
    scan.run();
    assert.ok(ended, "a scan ends");
    return taken;
  },
};

/** Refusals that callers know how to deal with. */
function expected(error: unknown): void {
  if (error instanceof FormatVersionError || error instanceof ConfigError || error instanceof StorageError) return;
  if (error instanceof CheckpointDamagedError || error instanceof BackupDamagedError) return;
  throw error;
}

// Checkpoints.

function checkpointOf(chunks: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter();
  const encoder = new CheckpointEncoder();
  encoder.header(writer, idBytes, 42);
  for (const chunk of chunks) encoder.chunk(writer, chunk, 0, chunk.length);
  encoder.footer(writer, "0123456789abcdef0123456789abcdef");
  return writer.toBytes();
}

/** The chain of checksums, as far as lengths let one follow it. */
function sealCheckpoint(bytes: Uint8Array, view: DataView, start: number, end: number): void {
  if (end - start < 40) return;
  let crc = crc32(bytes.subarray(start + 4, start + 32));
  view.setUint32(start, crc, true);
  let at = start + 32;
  while (end - at >= 8) {
    const length = view.getUint32(at, true);
    const stop = length === 0 ? end : at + 8 + length;
    if (stop > end) return;
    crc = crc32(bytes.subarray(at + 8, stop), crc);
    view.setUint32(at + 4, crc, true);
    if (length === 0) return;
    at = stop;
  }
}

const checkpointFile = new OneFile("checkpoint");

const checkpoint: FuzzTarget = {
  name: "checkpoint",
  what: "checkpoint files",
  corpus: [
    checkpointOf([new Uint8Array(100).fill(7)]),
    checkpointOf([new Uint8Array(1).fill(1), new Uint8Array(300).fill(2), new Uint8Array(40).fill(3)]),
  ],
  seal: sealCheckpoint,
  decode: (input) => {
    checkpointFile.hold(input);
    const bytes = input.end - input.start;
    const decoder = new CheckpointDecoder(checkpointFile, "checkpoint", bytes, clusterId, 42);
    let total = 0;
    let whole = false;
    const next = (): void =>
      decoder.next((error, chunk, footer) => {
        if (error !== null) return expected(error);
        if (chunk !== null) {
          total += chunk.length;
          assert.ok(chunk.length > 0 && total <= bytes);
          return next();
        }
        assert.ok(footer !== null && footer.bytes === total && footer.digest.length <= 1024);
        whole = true;
      });
    next();
    return whole;
  },
};

// The identity.

/** The identity's text as its own writer makes it. */
function identityOf(fields: { readonly started: boolean; readonly amnesiaNonce: number }): Uint8Array {
  const identity = { format: 1, clusterId, replica: 2, durability: "fsync", bootId: "boot", ...fields };
  const sum = crc32(JSON.stringify(Object.values(identity)))
    .toString(16)
    .padStart(8, "0");
  return encodeUtf8(`${JSON.stringify({ ...identity, checksum: sum }, null, 2)}\n`);
}

const identityFile = new OneFile("identity");

const identity: FuzzTarget = {
  name: "identity",
  what: "identity files",
  corpus: [identityOf({ started: true, amnesiaNonce: 0 }), identityOf({ started: false, amnesiaNonce: 12345 })],
  tokens: ['"format"', '"started"', "true", "false", "null", "{", "}", "[", "]", ":", ",", "\\u0000", '"checksum"'],
  decode: (input) => {
    identityFile.hold(input);
    let found: object | null = null;
    new IdentityFile(identityFile, "replica", clusterId).load((error, loaded) => {
      if (error !== null) return expected(error);
      if (loaded === "damaged") return;
      assert.ok(loaded !== null && loaded.clusterId === clusterId && typeof loaded.started === "boolean");
      found = loaded;
    });
    return found !== null;
  },
};

// Backups.

const facts = encodeUtf8(
  JSON.stringify({
    createdAt: "2026-01-01T00:00:00.000Z",
    program: "0.1.0",
    clusterId,
    replica: 1,
    replicas: 3,
    service: "kv",
    ordering: "multi-paxos",
    execution: "pipelined",
    reads: "quorum",
    groups: 1,
    durability: "fsync",
    through: 42,
    digest: "0123456789abcdef0123456789abcdef",
  }),
);

const BACKUP_HEAD = 16;

function backupOf(chunks: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter();
  writer.latin1("SYNODBAK");
  writer.u32(1);
  writer.u32(facts.length);
  writer.copy(facts, 0, facts.length);
  writer.u32(0);
  let bytes = 0;
  for (const chunk of chunks) {
    writer.u32(chunk.length);
    writer.u32(0);
    writer.copy(chunk, 0, chunk.length);
    bytes += chunk.length;
  }
  writer.u32(0);
  writer.u32(0);
  writer.f64(bytes);
  writer.f64(chunks.length);
  sealBackup(writer.bytes, writer.view, 0, writer.length);
  return writer.toBytes();
}

function sealBackup(bytes: Uint8Array, view: DataView, start: number, end: number): void {
  if (end - start < BACKUP_HEAD) return;
  const length = view.getUint32(start + 12, true);
  let at = start + BACKUP_HEAD + length;
  if (at + 4 > end) return;
  let crc = crc32(bytes.subarray(start + BACKUP_HEAD, at), crc32(bytes.subarray(start, start + BACKUP_HEAD)));
  view.setUint32(at, crc, true);
  at += 4;
  while (end - at >= 8) {
    const chunk = view.getUint32(at, true);
    const stop = chunk === 0 ? end : at + 8 + chunk;
    if (stop > end) return;
    crc = crc32(bytes.subarray(at + 8, stop), crc);
    view.setUint32(at + 4, crc, true);
    if (chunk === 0) return;
    at = stop;
  }
}

const backup: FuzzTarget = {
  name: "backup",
  what: "backup files",
  corpus: [backupOf([new Uint8Array(100).fill(7)]), backupOf([new Uint8Array(30).fill(1), new Uint8Array(9).fill(2)])],
  tokens: ['"service"', '"through"', "null", "{", "}", "[", "]", "SYNODBAK"],
  seal: sealBackup,
  decode: async ({ bytes, start, end }) => {
    const size = end - start;
    const file = {
      stat: () => Promise.resolve({ size }),
      read: (into: Uint8Array, at: number, count: number, offset: number) => {
        assert.ok(at + count <= into.length);
        const bytesRead = Math.max(0, Math.min(count, size - offset));
        into.set(bytes.subarray(start + offset, start + offset + bytesRead), at);
        return Promise.resolve({ bytesRead });
      },
      close: () => Promise.resolve(),
    };
    try {
      const reader = await BackupReader.over("backup", file);
      for (let chunk = await reader.next(); chunk !== null; chunk = await reader.next()) {
        assert.ok(chunk.length > 0 && chunk.length <= size);
      }
      return true;
    } catch (error) {
      expected(error);
      return false;
    }
  },
};

assert.equal(batchVersion, 2, "the corpus is of this version");

export const storageTargets: readonly FuzzTarget[] = [log, checkpoint, identity, backup];
