/**
 * The format of a checkpoint file. Numbers are little-endian; each checksum begins from the one before it, so chunks can
 * be neither exchanged nor left out.
 *
 * | part | bytes | what |
 * |---|---|---|
 * | header | u32 | CRC-32 of the following 28 bytes |
 * | | u32, u16, u16, u32 | magic "SYCP", format version, 0, 0 |
 * | | 8, f64 | cluster id, instance that the checkpoint covers |
 * | each chunk | u32, u32 | length (at least 1), CRC-32 of its bytes |
 * | | length | its bytes |
 * | footer | u32, u32 | 0, CRC-32 of the rest |
 * | | f64, f64, u32 | bytes and number of all chunks, length of the digest |
 * | | | the digest, in hexadecimal digits |
 *
 * Every version keeps the first 32 bytes as they are.
 */
import { crc32 } from "node:zlib";
import { assert, type ByteWriter, latin1 } from "../../base/index.js";
import { CheckpointDamagedError, ConfigError, FormatVersionError, type Instance } from "../../model/index.js";
import { clusterIdAt } from "./batch-format.js";
import { chunkBytesMax } from "./config.js";
import { type StoredFile, storageError } from "./file-system.js";

export const checkpointVersion = 1;
const magic = 0x50435953;
const headerBytes = 32;
const chunkHeadBytes = 8;
const footerBytesMin = 20;
const digestLengthMax = 1024;

/** Writes the parts of a checkpoint one after the other into a writer that the caller empties in between. */
export class CheckpointEncoder {
  #crc = 0;
  #bytes = 0;
  #chunks = 0;

  get bytes(): number {
    return this.#bytes;
  }

  header(into: ByteWriter, clusterId: Uint8Array, through: Instance): void {
    const at = into.length;
    into.u32(0);
    into.u32(magic);
    into.u16(checkpointVersion);
    into.u16(0);
    into.u32(0);
    into.copy(clusterId, 0, clusterId.length);
    into.f64(through);
    this.#crc = crc32(into.bytes.subarray(at + 4, at + headerBytes));
    into.view.setUint32(at, this.#crc, true);
  }

  chunk(into: ByteWriter, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    assert(length > 0 && length <= chunkBytesMax, `a chunk has 1 to ${chunkBytesMax} bytes, got ${length}`);
    this.#crc = crc32(bytes.subarray(start, end), this.#crc);
    this.#bytes += length;
    this.#chunks++;
    into.u32(length);
    into.u32(this.#crc);
    into.copy(bytes, start, end);
  }

  footer(into: ByteWriter, digest: string): void {
    assert(
      /^[0-9a-f]*$/.test(digest) && digest.length <= digestLengthMax,
      `"${digest}" is not a digest in hexadecimal`,
    );
    into.u32(0);
    const at = into.skip(4);
    into.f64(this.#bytes);
    into.f64(this.#chunks);
    into.u32(digest.length);
    into.latin1(digest);
    into.view.setUint32(at, crc32(into.bytes.subarray(at + 4, into.length), this.#crc), true);
  }
}

export interface CheckpointFooter {
  readonly digest: string;
  readonly bytes: number;
}

type PartRead = (error: Error | null, chunk: Uint8Array | null, footer: CheckpointFooter | null) => void;

/**
 * Reads a checkpoint chunk by chunk and checks all of it on the way. With each chunk it reads the head of what follows, so
 * a chunk is one read. What fails its check is read a second time before it counts as damaged, since reading errs as well.
 */
export class CheckpointDecoder {
  readonly #file: StoredFile;
  readonly #path: string;
  readonly #clusterId: string;
  readonly #through: Instance;
  readonly #fileBytes: number;
  #offset = 0;
  #crc = 0;
  #bytes = 0;
  #chunks = 0;
  /** Length and checksum of the chunk that stands at `#offset`. */
  #nextLength = 0;
  #nextCrc = 0;

  constructor(file: StoredFile, path: string, fileBytes: number, clusterId: string, through: Instance) {
    this.#file = file;
    this.#path = path;
    this.#fileBytes = fileBytes;
    this.#clusterId = clusterId;
    this.#through = through;
  }

  /** Calls back with the next chunk, or after the last one with the footer. The chunk's memory is the caller's. */
  next(done: PartRead): void {
    if (this.#offset === 0) {
      this.#readHeader(false, (error) => (error === null ? this.next(done) : done(error, null, null)));
    } else this.#readPart(false, done);
  }

  #readPart(again: boolean, done: PartRead): void {
    const ended: PartRead = (error, chunk, footer) => {
      if (again || !(error instanceof CheckpointDamagedError)) return done(error, chunk, footer);
      // Length and checksum may be what was misread: they are read again too.
      this.#read(this.#offset - chunkHeadBytes, chunkHeadBytes, (failure, _bytes, view) => {
        if (failure !== null) return done(failure, null, null);
        this.#loadHead(view, 0);
        this.#readPart(true, done);
      });
    };
    if (this.#nextLength === 0) this.#readFooter(ended);
    else this.#readChunk(ended);
  }

  #readHeader(again: boolean, done: (error: Error | null) => void): void {
    this.#read(0, headerBytes + chunkHeadBytes, (error, bytes, view) => {
      if (error !== null) return done(error);
      this.#crc = crc32(bytes.subarray(4, headerBytes));
      if (view.getUint32(0, true) !== this.#crc || view.getUint32(4, true) !== magic) {
        if (!again) return this.#readHeader(true, done);
        return done(this.#damaged("its header is damaged"));
      }
      const version = view.getUint16(8, true);
      if (version > checkpointVersion) {
        return done(
          new FormatVersionError(
            `${this.#path} was written in checkpoint format ${version}; this program reads up to ${checkpointVersion}`,
          ),
        );
      }
      const clusterId = clusterIdAt(bytes, 16);
      if (clusterId !== this.#clusterId) {
        return done(new ConfigError(`${this.#path} belongs to cluster ${clusterId}, not to ${this.#clusterId}`));
      }
      const through = view.getFloat64(24, true);
      if (through !== this.#through) return done(this.#damaged(`it covers ${through}, not what its name says`));
      this.#offset = headerBytes + chunkHeadBytes;
      this.#loadHead(view, headerBytes);
      done(null);
    });
  }

  #readChunk(done: PartRead): void {
    const length = this.#nextLength;
    const impossible = this.#impossible();
    if (impossible !== null) return done(impossible, null, null);
    this.#read(this.#offset, length + chunkHeadBytes, (error, bytes, view) => {
      if (error !== null) return done(error, null, null);
      const chunk = bytes.subarray(0, length);
      const crc = crc32(chunk, this.#crc);
      if (crc !== this.#nextCrc) return done(this.#damaged(`chunk ${this.#chunks} is damaged`), null, null);
      this.#crc = crc;
      this.#chunks++;
      this.#bytes += length;
      this.#offset += length + chunkHeadBytes;
      this.#loadHead(view, length);
      done(null, chunk, null);
    });
  }

  #readFooter(done: PartRead): void {
    const length = this.#fileBytes - this.#offset;
    if (length < footerBytesMin || length > footerBytesMin + digestLengthMax) {
      return done(this.#damaged("its end is damaged"), null, null);
    }
    this.#read(this.#offset, length, (error, bytes, view) => {
      if (error !== null) return done(error, null, null);
      const complete =
        crc32(bytes, this.#crc) === this.#nextCrc &&
        view.getFloat64(0, true) === this.#bytes &&
        view.getFloat64(8, true) === this.#chunks &&
        view.getUint32(16, true) === length - footerBytesMin;
      if (!complete) return done(this.#damaged("its end is damaged"), null, null);
      done(null, null, { digest: latin1(bytes, footerBytesMin, length), bytes: this.#bytes });
    });
  }

  /** Notes the head of a chunk or of the footer, which stands before `#offset` in the file. */
  #loadHead(view: DataView, at: number): void {
    this.#nextLength = view.getUint32(at, true);
    this.#nextCrc = view.getUint32(at + 4, true);
  }

  #impossible(): Error | null {
    const left = this.#fileBytes - this.#offset;
    return this.#nextLength <= chunkBytesMax && this.#nextLength <= left
      ? null
      : this.#damaged(`chunk ${this.#chunks} has an impossible length, ${this.#nextLength}`);
  }

  #read(offset: number, count: number, done: (error: Error | null, bytes: Uint8Array, view: DataView) => void): void {
    const bytes = new Uint8Array(count);
    this.#file.read(bytes, 0, count, offset, (error, read) => {
      const view = new DataView(bytes.buffer);
      if (error !== null) done(storageError(`cannot read ${this.#path}`, error), bytes, view);
      else if (read < count) done(this.#damaged("it ends early"), bytes, view);
      else done(null, bytes, view);
    });
  }

  #damaged(reason: string): CheckpointDamagedError {
    return new CheckpointDamagedError(`${this.#path}: ${reason}`);
  }
}
