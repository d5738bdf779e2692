import { constants } from "node:crypto";
import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { FaultLog } from "./fault-log.js";
import { pemOptions, TLS_VERSION_MIN, type TlsCredentials } from "./tls-credentials.js";

/** Handshakes under way at most; a further one drops the oldest, so that strangers who only connect shut nobody out for long. */
const HANDSHAKES_MAX = 256;
const HANDSHAKE_MS_MAX = 5000;

/** How the accepted connections of a port are encrypted. */
export interface TlsAcceptance {
  readonly credentials: TlsCredentials;
  /** Whether a connection without a valid certificate ends here. Otherwise `isCertified` tells them apart. */
  readonly certificateNeeded: boolean;
}

/**
 * Makes TLS connections of accepted sockets, one handshake each. Sessions can't be resumed: a connection is what its own
 * handshake proves, under the certificates of now. What fails is logged and closed.
 */
export class TlsAcceptor {
  readonly #acceptance: TlsAcceptance;
  readonly #faults: FaultLog;
  readonly #onSecure: (socket: TLSSocket) => void;
  /** Handshakes under way, the oldest first, by the other side's address. */
  readonly #underWay = new Map<string, Socket>();
  #server: Server | null = null;
  #version = 0;
  #closed = false;

  constructor(acceptance: TlsAcceptance, faults: FaultLog, onSecure: (socket: TLSSocket) => void) {
    this.#acceptance = acceptance;
    this.#faults = faults;
    this.#onSecure = onSecure;
  }

  accept(socket: Socket): void {
    const key = keyOf(socket);
    if (this.#underWay.size >= HANDSHAKES_MAX) {
      const [oldest] = this.#underWay.values();
      this.#refused(oldest, `more than ${HANDSHAKES_MAX} handshakes are under way`);
      oldest?.destroy();
    }
    this.#underWay.set(key, socket);
    socket.once("close", () => this.#ended(key, socket));
    socket.on("error", () => socket.destroy());
    this.#present().emit("connection", socket);
  }

  close(): void {
    this.#closed = true;
    for (const socket of this.#underWay.values()) socket.destroy();
    this.#underWay.clear();
  }

  /** A server that never listens: it has the options of the handshake, and gets the sockets from here. */
  #present(): Server {
    const { credentials, certificateNeeded } = this.#acceptance;
    if (this.#server !== null && this.#version === credentials.version) return this.#server;
    const server = createServer({
      ...pemOptions(credentials.pem),
      minVersion: TLS_VERSION_MIN,
      requestCert: credentials.pem.ca !== null,
      // Verified below, where the reason can be told; Node would close without a word.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_MS_MAX,
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
    server.on("secureConnection", (socket) => {
      this.#underWay.delete(keyOf(socket));
      if (this.#closed) socket.destroy();
      else if (certificateNeeded && !socket.authorized) {
        this.#refused(socket, `its certificate is not accepted: ${String(socket.authorizationError)}`);
        socket.on("error", () => undefined);
        socket.destroy();
      } else {
        socket.pause();
        this.#onSecure(socket);
      }
    });
    server.on("tlsClientError", (error, socket) => this.#refused(socket, reasonOf(error)));
    this.#server = server;
    this.#version = credentials.version;
    return server;
  }

  #refused(socket: Socket | undefined, detail: string): void {
    this.#faults.warn("connection-refused", "tls", {
      remote: socket === undefined ? "unknown" : keyOf(socket),
      detail,
    });
  }

  #ended(key: string, socket: Socket): void {
    if (this.#underWay.get(key) === socket) this.#underWay.delete(key);
  }
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`;
}

/** OpenSSL's words without its source lines. */
function reasonOf(error: Error & { readonly reason?: string; readonly code?: string }): string {
  return error.reason ?? error.code ?? error.message;
}
