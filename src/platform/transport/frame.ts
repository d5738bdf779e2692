// Hot file: every frame is written and read here. Nothing may be allocated per frame that lies wholly in one chunk.
import { assert, MiB, type ByteWriter } from "../../base/index.js";
import { REPLY_BYTES_MAX } from "../../model/index.js";
import { checksum } from "./checksum.js";
import { HeldPool, type HeldBuffer } from "./held-pool.js";

/**
 * A frame on the wire, little-endian:
 *
 * | at | type | field |
 * |---|---|---|
 * | 0 | u32 | byte length of the whole frame, header included |
 * | 4 | u32 | CRC-32 of the bytes from 8 to the end |
 * | 8 | u16 | magic, the letters "Sy" |
 * | 10 | u8 | protocol version |
 * | 11 | u8 | 0, ignored by readers |
 * | 12 | u32 | cluster id, low half |
 * | 16 | u32 | cluster id, high half |
 * | 20 | u16 | kind: 0 is the transport's HELLO, the others are the hosts' (see FrameKind) |
 * | 22 | u16 | 0, ignored by readers |
 * | 24 | … | body |
 *
 * The length stands first so that text sent to the wrong port is recognised by its first four bytes: read as a length,
 * letters and digits exceed any frame.
 */
export const FRAME_HEADER_BYTES = 24;
/** Most bytes of a frame, header included: the longest reply block. Ports may take less (`frameBytesMax`). */
export const FRAME_BYTES_MAX = FRAME_HEADER_BYTES + REPLY_BYTES_MAX;
export const FRAME_MAGIC = 0x7953;
/** Version of everything on the wire; peers and clients of another version are refused. */
export const PROTOCOL_VERSION = 1;
/** The largest kind a host may send. */
export const FRAME_KIND_MAX = 0xffff;

/** A cluster id as it stands in frame headers. */
export interface ClusterKey {
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly low: number;
  readonly high: number;
}

/** Says "no cluster": what a client sends that does not know which cluster it talks to. */
export const NO_CLUSTER: ClusterKey = Object.freeze({ id: "0000000000000000", low: 0, high: 0 });

export function clusterKey(id: string): ClusterKey {
  assert(/^[0-9a-f]{16}$/.test(id), `a cluster id has 16 hexadecimal digits, got "${id}"`);
  return Object.freeze({ id, low: Number.parseInt(id.slice(8), 16), high: Number.parseInt(id.slice(0, 8), 16) });
}

function clusterText(low: number, high: number): string {
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}

/** Begins a frame: leaves room for the header and returns where the frame starts. */
export function openFrame(writer: ByteWriter): number {
  return writer.skip(FRAME_HEADER_BYTES);
}

/** Completes the frame that starts at `start` and ends where the writer stands. */
export function closeFrame(writer: ByteWriter, start: number, kind: number, cluster: ClusterKey): void {
  const length = writer.length - start;
  assert(length <= FRAME_BYTES_MAX, `a frame of kind ${kind} has ${length} bytes, the maximum is ${FRAME_BYTES_MAX}`);
  const view = writer.view;
  view.setUint32(start, length, true);
  view.setUint16(start + 8, FRAME_MAGIC, true);
  view.setUint16(start + 10, PROTOCOL_VERSION, true);
  view.setUint32(start + 12, cluster.low, true);
  view.setUint32(start + 16, cluster.high, true);
  view.setUint32(start + 20, kind, true);
  view.setUint32(start + 4, checksum(writer.bytes, start + 8, writer.length), true);
}

/** The cluster in the header of the frame whose body starts at `bodyStart`. */
export function frameCluster(view: DataView, bodyStart: number): ClusterKey {
  const low = view.getUint32(bodyStart - 12, true);
  const high = view.getUint32(bodyStart - 8, true);
  return { id: clusterText(low, high), low, high };
}

/** Why bytes are not frames of ours. `hello` is the transport's own: the connection's introduction was wrong. */
export type FrameFaultReason = "length" | "magic" | "version" | "cluster" | "checksum" | "hello";

/** What was wrong with a connection's bytes, in words that name both values. The connection can't go on. */
export interface FrameFault {
  readonly reason: FrameFaultReason;
  readonly detail: string;
}

export interface FrameSink {
  /** The body is `bytes[start, end)`, valid only during the call. Returns false to have the reader stop for good. */
  onFrame(kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): boolean;
}

/**
 * A held buffer is made for so many times the bytes that have arrived, or for the frame if that is shorter: a length
 * alone, however large, makes nobody allocate, and a frame of a few chunks is rarely moved. Long frames get less ahead, so
 * that one which stops half-way holds little more than was sent of it.
 */
const HELD_AHEAD = 4;
const HELD_AHEAD_LONG = 2;
const LONG_BYTES = MiB;

export interface FrameReaderInit {
  readonly sink: FrameSink;
  /** Frames must be of this cluster; null takes any. */
  readonly cluster: ClusterKey | null;
  /** Longest frame taken, header included; at most, and by default, `FRAME_BYTES_MAX`. */
  readonly lengthMax?: number;
  /** Where readers of one port get memory for straddling frames; without it a pool of its own. */
  readonly pool?: HeldPool;
}

/**
 * Cuts a stream of arbitrary chunks into frames. A frame that lies wholly in one chunk is handed on in place; one that
 * straddles is gathered in a pooled buffer that grows with what has arrived, up to the frame's length rounded up by the
 * pool. Anything that is not a valid frame of the expected cluster is a fault, after which the reader takes nothing more.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #pool: HeldPool;
  /** As in `FrameReaderInit`; a connection learns its cluster, and is trusted with longer frames, as it introduces itself. */
  cluster: ClusterKey | null;
  /** Whether frames of "no cluster" are taken too. */
  takesNoCluster = false;
  lengthMax: number;
  #held: HeldBuffer | null = null;
  #heldLength = 0;
  #stopped = false;
  #fault: FrameFault | null = null;

  constructor(init: FrameReaderInit) {
    const { sink, cluster, lengthMax = FRAME_BYTES_MAX, pool = new HeldPool() } = init;
    assert(lengthMax <= FRAME_BYTES_MAX, `lengthMax ${lengthMax} exceeds ${FRAME_BYTES_MAX}`);
    this.#sink = sink;
    this.#pool = pool;
    this.cluster = cluster;
    this.lengthMax = lengthMax;
  }

  /** Bytes of memory held for a straddling frame. */
  get heldCapacity(): number {
    return this.#held === null ? 0 : this.#held.bytes.length;
  }

  /** Takes the next bytes of the stream. Returns what is wrong with them, again and again once something was. */
  push(bytes: Uint8Array, view: DataView, start: number, end: number): FrameFault | null {
    let at = start;
    while (at < end && !this.#stopped) {
      if (this.#heldLength > 0) {
        at = this.#gather(bytes, at, end);
        continue;
      }
      const available = end - at;
      if (available >= 4 && !this.#checkLength(view, at)) break;
      if (available < FRAME_HEADER_BYTES) {
        this.#hold(bytes, at, end);
        break;
      }
      if (!this.#checkHeader(view, at)) break;
      const length = view.getUint32(at, true);
      if (available < length) {
        this.#hold(bytes, at, end);
        break;
      }
      this.#deliver(bytes, view, at, length);
      at += length;
    }
    return this.#fault;
  }

  /** Completes the held frame as far as `bytes[at, end)` goes; returns the offset of the first byte not taken. */
  #gather(bytes: Uint8Array, at: number, end: number): number {
    let next = at;
    for (const boundary of [4, FRAME_HEADER_BYTES]) {
      if (this.#heldLength >= boundary) continue;
      const taken = Math.min(end - next, boundary - this.#heldLength);
      this.#hold(bytes, next, next + taken);
      next += taken;
      if (this.#heldLength < boundary) return next;
      const { view } = this.#held as HeldBuffer;
      if (!(boundary === 4 ? this.#checkLength(view, 0) : this.#checkHeader(view, 0))) return end;
    }
    const held = this.#held as HeldBuffer;
    const length = held.view.getUint32(0, true);
    const taken = Math.min(end - next, length - this.#heldLength);
    this.#hold(bytes, next, next + taken);
    next += taken;
    if (this.#heldLength < length) return next;
    const complete = this.#held as HeldBuffer;
    this.#held = null;
    this.#heldLength = 0;
    this.#deliver(complete.bytes, complete.view, 0, length);
    this.#pool.give(complete);
    return next;
  }

  #hold(bytes: Uint8Array, start: number, end: number): void {
    const needed = this.#heldLength + end - start;
    let held = this.#held;
    if (held === null || held.bytes.length < needed) {
      const length = needed < 4 ? this.lengthMax : frameLength(this.#held, this.#heldLength, bytes, start);
      const ahead = needed * (needed < LONG_BYTES ? HELD_AHEAD : HELD_AHEAD_LONG);
      held = this.#pool.take(Math.max(needed, Math.min(ahead, length)));
      if (this.#held !== null) {
        held.bytes.set(this.#held.bytes.subarray(0, this.#heldLength));
        this.#pool.give(this.#held);
      }
      this.#held = held;
    }
    held.bytes.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), this.#heldLength);
    this.#heldLength = needed;
  }

  /** Gives back what is held; the stream is over. */
  close(): void {
    this.#stopped = true;
    this.#heldLength = 0;
    if (this.#held !== null) this.#pool.give(this.#held);
    this.#held = null;
  }

  #deliver(bytes: Uint8Array, view: DataView, at: number, length: number): void {
    const end = at + length;
    const written = view.getUint32(at + 4, true);
    const computed = checksum(bytes, at + 8, end);
    if (written !== computed) {
      const both = `${computed.toString(16)}, its header says ${written.toString(16)}`;
      this.#fail("checksum", `the checksum of a frame of ${length} bytes is ${both}`);
      return;
    }
    if (!this.#sink.onFrame(view.getUint16(at + 20, true), bytes, view, at + FRAME_HEADER_BYTES, end)) {
      this.#stopped = true;
    }
  }

  #checkLength(view: DataView, at: number): boolean {
    const length = view.getUint32(at, true);
    if (length >= FRAME_HEADER_BYTES && length <= this.lengthMax) return true;
    const guess = guessProtocol(view, at);
    const limits = `frames here have ${FRAME_HEADER_BYTES} to ${this.lengthMax} bytes, got ${length}`;
    return this.#fail("length", guess === null ? limits : `these bytes look like ${guess}`);
  }

  #checkHeader(view: DataView, at: number): boolean {
    const magic = view.getUint16(at + 8, true);
    if (magic !== FRAME_MAGIC) {
      return this.#fail(
        "magic",
        `a frame begins with magic ${magic.toString(16)}, ours is ${FRAME_MAGIC.toString(16)}`,
      );
    }
    const version = view.getUint8(at + 10);
    if (version !== PROTOCOL_VERSION) {
      return this.#fail("version", `the other side speaks protocol version ${version}, ours is ${PROTOCOL_VERSION}`);
    }
    const cluster = this.cluster;
    if (cluster === null) return true;
    const low = view.getUint32(at + 12, true);
    const high = view.getUint32(at + 16, true);
    if (low === cluster.low && high === cluster.high) return true;
    if (this.takesNoCluster && low === 0 && high === 0) return true;
    return this.#fail("cluster", `the other side belongs to cluster ${clusterText(low, high)}, ours is ${cluster.id}`);
  }

  #fail(reason: FrameFaultReason, detail: string): false {
    this.#fault = { reason, detail };
    this.close();
    return false;
  }
}

/** The length in the first four bytes of a frame of which some may be held and the rest begins at `bytes[start]`. */
function frameLength(held: HeldBuffer | null, heldLength: number, bytes: Uint8Array, start: number): number {
  let length = 0;
  for (let i = 3; i >= 0; i--) {
    const byte = i < heldLength ? (held as HeldBuffer).bytes[i] : bytes[start + i - heldLength];
    length = length * 256 + (byte as number);
  }
  return length;
}

const HTTP_METHODS: ReadonlySet<string> = new Set(
  ["GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI", "PATC", "CONN", "TRAC", "PRI "], // the first four bytes of each
);
const REDIS_INLINE: ReadonlySet<string> = new Set(["PING", "INFO", "AUTH", "HELL", "QUIT", "SELE", "CLIE", "COMM"]);

/** What else the first four bytes of a frame, which are no length, may be; null if nothing that is known. */
function guessProtocol(view: DataView, at: number): string | null {
  let text = "";
  for (let i = 0; i < 4; i++) text += String.fromCharCode(view.getUint8(at + i));
  if (HTTP_METHODS.has(text)) return "an HTTP request; this port speaks Synod's own protocol";
  if (/^\*\d+\r?/.test(text) || REDIS_INLINE.has(text.toUpperCase())) {
    return "a Redis command; this port speaks Synod's own protocol, Redis clients use the RESP port";
  }
  if (text.startsWith("\u0016\u0003")) return "a TLS handshake; this port does not speak TLS";
  if (text === "SSH-") return "SSH; this port speaks Synod's own protocol";
  return null;
}
