import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { assert } from "../../base/index.js";
import { ListenError, parseAddress } from "../../model/index.js";
import type { EventLog } from "../port.js";
import type { FaultLog } from "./fault-log.js";
import { readPlain, type ReadSocket } from "./plain-reads.js";
import { TlsAcceptor, type TlsAcceptance } from "./tls-acceptor.js";

/** Where to listen: `host:port`, or host and port; port 0 takes a free one. */
export type ListenAddress = string | { readonly host: string; readonly port: number };

/** Called once: with the bound address as `host:port`, or with a `ListenError` that says what is in the way. */
export type ListenDone = (error: Error | null, address: string) => void;

/** Sockets that arrive before the port has started wait here, unread; more are turned away (they dial again). */
const WAITING_MAX = 256;

function hostPort(address: ListenAddress): { host: string; port: number } {
  if (typeof address !== "string") return { host: address.host, port: address.port };
  if (address.endsWith(":0")) return { host: parseAddress(`${address.slice(0, -1)}1`).host, port: 0 };
  return parseAddress(address);
}

export function formatAddress(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `host:port` of a socket's other side, for log lines. */
export function remoteAddress(socket: Socket): string {
  return socket.remoteAddress === undefined ? "unknown" : formatAddress(socket.remoteAddress, socket.remotePort ?? 0);
}

export interface AcceptorInit {
  readonly listen: ListenAddress;
  readonly events: EventLog;
  readonly faults: FaultLog;
  /** A socket whose other side has ended can still be written to; then ending it is the owner's business. */
  readonly halfOpen?: boolean;
  /** Null: connections are plain. */
  readonly tls: TlsAcceptance | null;
}

/** A listening socket. Accepted sockets arrive paused, after their handshake; the owner attaches itself and resumes them. */
export class Acceptor {
  readonly #address: ListenAddress;
  readonly #events: EventLog;
  readonly #server: Server;
  readonly #tls: TlsAcceptor | null;
  #accept: ((accepted: ReadSocket) => void) | null = null;
  readonly #waiting = new Set<Socket>();
  /** The bound address as `host:port`; null before and after listening. */
  bound: string | null = null;

  constructor(init: AcceptorInit) {
    this.#address = init.listen;
    this.#events = init.events;
    const tls = init.tls === null ? null : new TlsAcceptor(init.tls, init.faults, (socket) => this.#arrived(socket));
    this.#tls = tls;
    // The handshake reads from the socket, so a connection with TLS is paused behind it.
    const options = { pauseOnConnect: tls === null, allowHalfOpen: init.halfOpen ?? false };
    this.#server = createServer(options, (socket) => (tls === null ? this.#arrived(socket) : tls.accept(socket)));
  }

  listen(done: ListenDone): void {
    assert(!this.#server.listening, "listen is called once");
    const { host, port } = hostPort(this.#address);
    const asked = formatAddress(host, port);
    const refused = (error: NodeJS.ErrnoException): void =>
      done(new ListenError(complaint(asked, error), { cause: error }), asked);
    this.#server.once("error", refused);
    this.#server.listen({ host, port }, () => {
      this.#server.off("error", refused);
      // Out of file descriptors, mostly: the listener lives on and this connection is lost.
      this.#server.on("error", (error) =>
        this.#events.error("accept-failed", { address: asked, error: error.message }),
      );
      const { address, port: boundPort } = this.#server.address() as AddressInfo;
      this.bound = formatAddress(address, boundPort);
      done(null, this.bound);
    });
  }

  /** Begins to hand out sockets; those that wait come first, but not inside this call. */
  start(accept: (accepted: ReadSocket) => void): void {
    this.#accept = accept;
    setImmediate(() => {
      for (const socket of this.#waiting) {
        this.#waiting.delete(socket);
        if (!socket.destroyed) this.#handOut(socket);
      }
    });
  }

  /** Stops listening; sockets that were handed out are their owners' to close. `done` when the address is free again. */
  close(done: () => void): void {
    this.#tls?.close();
    for (const socket of this.#waiting) socket.destroy();
    this.#waiting.clear();
    this.#accept = null;
    this.bound = null;
    if (this.#server.listening) this.#server.close(() => done());
    else setImmediate(done);
  }

  #arrived(socket: Socket): void {
    if (this.#accept !== null) {
      this.#handOut(socket);
      return;
    }
    if (this.#waiting.size >= WAITING_MAX) {
      socket.destroy();
      return;
    }
    this.#waiting.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.#waiting.delete(socket));
  }

  #handOut(socket: Socket): void {
    if (this.#accept === null) socket.destroy();
    else this.#accept(this.#tls === null ? readPlain(socket) : { socket, reads: null });
  }
}

function complaint(address: string, error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "EADDRINUSE":
      return `${address} is in use by another process; stop it or choose another port`;
    case "EADDRNOTAVAIL":
      return `${address} is not an address of this machine`;
    case "EACCES":
      return `listening on ${address} is not permitted`;
    default:
      return `can't listen on ${address}: ${error.message}`;
  }
}
