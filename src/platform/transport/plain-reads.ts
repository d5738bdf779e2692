// Hot file: every read of a plain socket passes here, once per event-loop turn and connection. Watched by bench/transport.mjs.
import { connect, type OnReadOpts, Socket, type SocketConstructorOpts } from "node:net";
import { KiB } from "../../base/index.js";

/** Most bytes of one read: what thousands of commands or their replies take is read at once. */
const READ_BYTES_MAX = 256 * KiB;

/** The memory that all plain sockets of this thread are read into: what was read is used up before the next read. */
const bytes = new Uint8Array(READ_BYTES_MAX);
const view = new DataView(bytes.buffer);

/**
 * Reads of one plain socket into memory that is always the same. A socket left to itself allocates 64 KiB for each read,
 * however little comes, and hands what came through the machinery of streams: 3 to 4 µs a read, and work for the collector.
 */
export class PlainReads {
  /** Gets what comes; the bytes are valid during the call. Set before anything can come. */
  receive: ((bytes: Uint8Array, view: DataView, start: number, end: number) => void) | null = null;
  readonly options: OnReadOpts = {
    buffer: bytes,
    callback: (count) => {
      this.receive?.(bytes, view, 0, count);
      return true;
    },
  };
}

/** A socket, and how it is read: null if as a stream. */
export interface ReadSocket {
  readonly socket: Socket;
  readonly reads: PlainReads | null;
}

/** Dials without TLS. */
export function connectPlain(host: string, port: number): ReadSocket {
  const reads = new PlainReads();
  return { socket: connect({ host, port, onread: reads.options }), reads };
}

/** What a socket is made on; Node's servers do that by the same option, and say nothing of it in their manual. */
interface SocketOnHandle extends SocketConstructorOpts {
  readonly handle: object;
  readonly onread: OnReadOpts;
  readonly pauseOnCreate: boolean;
}

/**
 * The connection of an accepted socket, paused and without a listener, under a socket that is read by `PlainReads`. Servers have no option for that,
 * so another socket is made on the handle, as a server makes its own, and the first one is left without. Where a version
 * of Node keeps its handles elsewhere the socket stays as it is, which is slower and otherwise the same.
 */
export function readPlain(accepted: Socket): ReadSocket {
  const holder = accepted as unknown as { _handle?: { readonly useUserBuffer?: unknown } | null };
  const handle = holder._handle;
  if (handle === undefined || handle === null || typeof handle.useUserBuffer !== "function") {
    return { socket: accepted, reads: null };
  }
  const reads = new PlainReads();
  const { allowHalfOpen } = accepted;
  const options: SocketOnHandle = { handle, allowHalfOpen, onread: reads.options, pauseOnCreate: true };
  holder._handle = null;
  // The server no longer counts it: whoever has taken the connection closes it.
  accepted.destroy();
  return { socket: new Socket(options), reads };
}
