import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { ListenError } from "../../model/index.js";

/** The lowest port that `freePorts` hands out; below it live the well-known services. */
const PORT_MIN = 10_240;
const ATTEMPTS_MAX = 2000;
/** Ports are taken one after the other from a random multiple of this on. */
const BLOCK_PORTS = 16;

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/**
 * Finds `count` different ports of 127.0.0.1 on which nothing listens, and that `avoid` does not hold.
 *
 * They lie below the range from which the operating system takes the source ports of outgoing connections: a port of that
 * range can be lost to any connection while its replica is down, and a peer that dials it again and again would in the end
 * connect to itself. Every port is held open until all are found, so two of them are never the same. They are neighbours, so
 * that of two clusters one finds a port taken, which the other drew while the first was stopped, only if both drew one block.
 */
export async function freePorts(count: number, avoid: ReadonlySet<number> = new Set()): Promise<number[]> {
  const limit = outgoingPortMin();
  const held: Server[] = [];
  const ports: number[] = [];
  let next = PORT_MIN + BLOCK_PORTS * randomInt(Math.floor((limit - PORT_MIN) / BLOCK_PORTS));
  try {
    for (let attempt = 0; ports.length < count; attempt++) {
      if (attempt === ATTEMPTS_MAX) throw new ListenError(`no ${count} free ports below ${limit}`);
      const port = next;
      next = port + 1 < limit ? port + 1 : PORT_MIN;
      if (avoid.has(port) || ports.includes(port)) continue;
      const server = await listenOn("127.0.0.1", port).catch(() => null);
      if (server === null) continue;
      held.push(server);
      ports.push(port);
    }
  } finally {
    await Promise.all(held.map(closed));
  }
  return ports;
}

/** Throws `ListenError` naming the first port that is taken: better before anything runs than by a replica's death. */
export async function assertPortsFree(addresses: readonly HostPort[]): Promise<void> {
  const taken = await firstTakenAddress(addresses);
  if (taken === null) return;
  const { host, port, reason } = taken;
  throw new ListenError(
    reason === "EADDRINUSE"
      ? `port ${port} on ${host} is in use; stop what uses it or choose another with --port`
      : `port ${port} on ${host} can't be used (${reason})`,
  );
}

/** The first address of the list on which this process could not listen now, with the reason; null if all are free. */
export async function firstTakenAddress(
  addresses: readonly HostPort[],
): Promise<(HostPort & { readonly reason: string }) | null> {
  for (const { host, port } of addresses) {
    try {
      await closed(await listenOn(host, port));
    } catch (error) {
      return { host, port, reason: (error as NodeJS.ErrnoException).code ?? String(error) };
    }
  }
  return null;
}

/** Start of the range of outgoing connections' ports: Linux tells, elsewhere it is the range that IANA names. */
function outgoingPortMin(): number {
  try {
    const low = Number(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s/)[0]);
    if (Number.isInteger(low) && low > PORT_MIN + 1000) return low;
  } catch {
    // Not Linux, or the file is hidden from this container.
  }
  return 32_768;
}

function listenOn(host: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, () => resolve(server));
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
