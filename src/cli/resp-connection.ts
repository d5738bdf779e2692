import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { AuthenticationError, parseAddress, SynodError } from "../model/index.js";
import type { ClientSecurity } from "../runtime/index.js";

/** Requests of one connection that may wait for their replies; `send` beyond that is refused. */
const WAITING_MAX = 4096;
/** A reply that has not ended after this many bytes is not one of ours. */
const BUFFER_BYTES_MAX = 64 * 1024 * 1024;
const DEPTH_MAX = 8;

/** An error reply: the command was answered, with a refusal. */
export class RespReplyError extends Error {
  override readonly name = "RespReplyError";
}

export type RespReply = string | number | null | RespReplyError | readonly RespReply[];

interface Waiting {
  resolve(reply: RespReply): void;
  reject(error: Error): void;
}

/**
 * A client connection of the Redis protocol, version 2, as the command line itself needs one: to see that a port takes
 * writes, and to put load on it. Replies come in the order of the requests. Losing the connection rejects every request
 * that waits: such a request may have been executed.
 */
export class RespConnection {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  #unread: Buffer = Buffer.alloc(0);
  #lost: Error | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("error", (error) => this.#onLost(error));
    socket.on("close", () => this.#onLost(new SynodError("SYNOD_CONNECTION", "the connection was closed")));
  }

  /**
   * Connects to `host:port`; rejects if that takes longer than `timeoutMs`. `security` is for a port with TLS or
   * logins.
   */
  static async open(address: string, timeoutMs: number, security: ClientSecurity = {}): Promise<RespConnection> {
    const connection = await RespConnection.#connect(address, timeoutMs, security);
    if (security.password === undefined) return connection;
    const reply = await connection.send(["AUTH", security.user ?? "default", security.password]);
    if (!(reply instanceof RespReplyError)) return connection;
    connection.close();
    throw new AuthenticationError(`${address} does not let this program in: ${reply.message}`);
  }

  static async #connect(address: string, timeoutMs: number, security: ClientSecurity): Promise<RespConnection> {
    const secured = security.tls !== undefined && security.tls !== false;
    const socket = secured ? await secureSocket(address, security) : connect(parseAddress(address));
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => {
        socket.destroy(new SynodError("SYNOD_CONNECTION", `${address} did not accept within ${timeoutMs} ms`));
      }, timeoutMs);
      socket.once("error", (error) => {
        clearTimeout(limit);
        reject(error);
      });
      socket.once(secured ? "secureConnect" : "connect", () => {
        clearTimeout(limit);
        resolve(new RespConnection(socket));
      });
    });
  }

  /** Sends one command. An error reply resolves to a `RespReplyError`; only a lost connection rejects. */
  send(parts: readonly string[]): Promise<RespReply> {
    if (this.#lost !== null) return Promise.reject(this.#lost);
    if (this.#waiting.length >= WAITING_MAX) {
      return Promise.reject(new SynodError("SYNOD_CONNECTION", `${WAITING_MAX} requests wait already`));
    }
    const text = parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join("");
    this.#socket.write(`*${parts.length}\r\n${text}`);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  close(): void {
    this.#socket.destroy();
  }

  #onData(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    let at = 0;
    try {
      while (this.#waiting.length > 0) {
        const parsed = parseReply(this.#unread, at, 0);
        if (parsed === null) break;
        at = parsed.end;
        this.#waiting.shift()?.resolve(parsed.reply);
      }
    } catch (error) {
      this.#socket.destroy(error as Error);
      return;
    }
    this.#unread = this.#unread.subarray(at);
    if (this.#unread.length > BUFFER_BYTES_MAX) this.#socket.destroy(malformed("a reply without end"));
  }

  #onLost(error: Error): void {
    this.#lost ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#lost);
  }
}

/** What TLS needs is loaded by the few who use it. */
async function secureSocket(address: string, security: ClientSecurity): Promise<Socket> {
  const { accessOf } = await import("../runtime/index.js");
  const { serverMismatch } = await import("../platform/index.js");
  const { tls, trustedCluster = null } = accessOf(security);
  return connectTls({
    ...parseAddress(address),
    ...(tls === undefined ? {} : { secureContext: tls.context }),
    rejectUnauthorized: true,
    checkServerIdentity: (host, cert) => serverMismatch(cert, host, trustedCluster),
  });
}

const malformed = (what: string): SynodError => new SynodError("SYNOD_CONNECTION", `the other side sent ${what}`);

/** The reply that starts at `at`, or null when its end has not arrived. Throws when these bytes can't become one. */
export function parseReply(bytes: Buffer, at: number, depth: number): { reply: RespReply; end: number } | null {
  const lineEnd = bytes.indexOf("\r\n", at, "latin1");
  if (lineEnd < 0) return null;
  const text = bytes.toString("utf8", at + 1, lineEnd);
  const end = lineEnd + 2;
  switch (bytes[at]) {
    case 0x2b: // +
      return { reply: text, end };
    case 0x2d: // -
      return { reply: new RespReplyError(text), end };
    case 0x3a: // :
      return { reply: whole(text), end };
    case 0x24: {
      // $
      const length = whole(text);
      if (length < 0) return { reply: null, end };
      if (bytes.length < end + length + 2) return null;
      return { reply: bytes.toString("utf8", end, end + length), end: end + length + 2 };
    }
    case 0x2a: // *
      return parseArray(bytes, end, whole(text), depth);
    default:
      throw malformed("something else than the Redis protocol");
  }
}

function parseArray(bytes: Buffer, at: number, count: number, depth: number): { reply: RespReply; end: number } | null {
  if (count < 0) return { reply: null, end: at };
  if (depth === DEPTH_MAX) throw malformed("arrays in arrays without end");
  const replies: RespReply[] = [];
  let end = at;
  for (let i = 0; i < count; i++) {
    const parsed = parseReply(bytes, end, depth + 1);
    if (parsed === null) return null;
    replies.push(parsed.reply);
    end = parsed.end;
  }
  return { reply: replies, end };
}

function whole(text: string): number {
  if (!/^-?\d{1,19}$/.test(text)) throw malformed("a number that is none");
  return Number(text);
}
