import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { ListenError, parseAddress } from "../../model/index.js";
import type { ReplicaReading } from "../../runtime/index.js";
import { metricsPage, type ProcessFacts } from "./metrics.js";
import { readiness } from "./readiness.js";

/** A thread that has not answered by then is stuck. */
export const READING_MS_MAX = 1000;
/** Connections at once; further ones are closed. */
const CONNECTIONS_MAX = 64;
/** Bytes of a request's head; longer ones are answered 431. */
const HEAD_BYTES_MAX = 8192;
/** A request that takes longer to arrive is ended, and so is a connection that is idle for so long. */
const REQUEST_MS_MAX = 5000;

export interface AdminServerInit {
  /** `host:port` */
  readonly listen: string;
  readonly facts: ProcessFacts;
  /** Asks the replica's thread; resolves with null if it can't answer yet. May stay pending if the thread is stuck. */
  readonly read: () => Promise<ReplicaReading | null>;
}

export interface AdminServer {
  close(): void;
}

type Answer = readonly [status: number, body: string, type?: string];

/**
 * Serves `/livez`, `/readyz` and `/metrics` of one replica. It runs in the main thread of the replica's process and asks
 * the replica's own thread: so it notices when that is stuck, and whoever scrapes it takes no time from the replica but that
 * of one small message. Rejects with `ListenError`.
 */
export function startAdminServer(init: AdminServerInit): Promise<AdminServer> {
  const { facts } = init;
  const { host, port } = parseAddress(init.listen);
  let asking: Promise<ReplicaReading | null | "stuck"> | null = null;

  /** Requests that come while one is asked share its answer. */
  function reading(): Promise<ReplicaReading | null | "stuck"> {
    asking ??= answeredInTime(init.read()).finally(() => (asking = null));
    return asking;
  }

  async function answer(path: string): Promise<Answer> {
    if (path !== "/livez" && path !== "/readyz" && path !== "/metrics") {
      return [404, "there is /livez, /readyz and /metrics\n"];
    }
    const found = await reading();
    const known = found === "stuck" ? null : found;
    if (path === "/livez") {
      if (found !== "stuck") return [200, "ok\n"];
      return [503, `the replica's thread did not answer within ${READING_MS_MAX} ms\n`];
    }
    if (path === "/readyz") {
      const { ready, reason } = readiness(known);
      return [ready ? 200 : 503, `${reason}\n`];
    }
    const { user, system } = process.cpuUsage();
    const own = {
      residentBytes: process.memoryUsage.rss(),
      cpuSeconds: (user + system) / 1e6,
      startedSeconds: performance.timeOrigin / 1000,
    };
    return [200, metricsPage(facts, own, known), "text/plain; version=0.0.4; charset=utf-8"];
  }

  function onRequest(request: IncomingMessage, response: ServerResponse): void {
    // Nobody has anything to send here.
    request.resume();
    const head = request.method === "HEAD";
    const given: Promise<Answer> =
      request.method === "GET" || head
        ? answer((request.url ?? "").split("?")[0] as string)
        : Promise.resolve([405, "only GET and HEAD\n"]);
    void given.then(([status, body, type = "text/plain; charset=utf-8"]) => {
      response.writeHead(status, {
        "content-type": type,
        "content-length": Buffer.byteLength(body),
        "cache-control": "no-store",
        ...(status === 405 ? { allow: "GET, HEAD" } : {}),
      });
      response.end(head ? "" : body);
    });
  }

  const server = createServer(
    {
      maxHeaderSize: HEAD_BYTES_MAX,
      headersTimeout: REQUEST_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      keepAliveTimeout: REQUEST_MS_MAX,
      connectionsCheckingInterval: REQUEST_MS_MAX,
    },
    onRequest,
  );
  server.maxConnections = CONNECTIONS_MAX;
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new ListenError(`can't listen on ${init.listen} for administration: ${error.code ?? error.message}`));
    });
    server.listen({ host, port, exclusive: true }, () => {
      resolve({
        close() {
          server.close();
          server.closeAllConnections();
        },
      });
    });
  });
}

function answeredInTime<T>(asked: Promise<T>): Promise<T | "stuck"> {
  return new Promise((resolve) => {
    const limit = setTimeout(() => resolve("stuck"), READING_MS_MAX);
    void asked.then((value) => {
      clearTimeout(limit);
      resolve(value);
    });
  });
}
