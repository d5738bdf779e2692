import type { FramePort } from "../../platform/index.js";

/** Where a client is: a link of one of the replica's client ports, packed in one double. */
export type Route = number;

const LINKS = 2 ** 40;

export function routeOf(port: number, link: number): Route {
  return port * LINKS + link;
}

export const routePort = (route: Route): number => Math.floor(route / LINKS);
export const routeLink = (route: Route): number => route % LINKS;

/** Most sessions whose route is remembered; beyond it the oldest are forgotten and their replies wait for a retransmission. */
export const ROUTED_SESSIONS_MAX = 200_000;
/** Most session openings under way whose route is remembered. */
export const ROUTED_OPENINGS_MAX = 10_000;

/** Knows over which link the replies of a session, or of its opening, leave this replica. */
export class Routes {
  readonly #ports: readonly FramePort[];
  readonly #sessions = new Map<number, Route>();
  readonly #openings = new Map<string, Route>();
  readonly #links = new Set<Route>();

  constructor(ports: readonly FramePort[]) {
    this.#ports = ports;
  }

  port(route: Route): FramePort {
    return this.#ports[routePort(route)] as FramePort;
  }

  /** Sessions whose route is remembered. */
  get sessions(): number {
    return this.#sessions.size;
  }

  get openings(): number {
    return this.#openings.size;
  }

  get links(): Iterable<Route> {
    return this.#links;
  }

  opened(route: Route): void {
    this.#links.add(route);
  }

  closed(route: Route): void {
    this.#links.delete(route);
  }

  /** A block of the session came over this route. */
  note(session: number, route: Route): void {
    if (this.#sessions.get(session) === route) return;
    if (this.#sessions.size >= ROUTED_SESSIONS_MAX) forgetOldest(this.#sessions);
    this.#sessions.set(session, route);
  }

  noteOpening(nonce: string, route: Route): void {
    if (this.#openings.size >= ROUTED_OPENINGS_MAX) forgetOldest(this.#openings);
    this.#openings.set(nonce, route);
  }

  /** The route that opened a session with this nonce; from now on the session's own route. */
  take(nonce: string, session: number): Route | undefined {
    const route = this.#openings.get(nonce);
    if (route === undefined || !this.#links.has(route)) return undefined;
    this.#openings.delete(nonce);
    this.note(session, route);
    return route;
  }

  of(session: number): Route | undefined {
    const route = this.#sessions.get(session);
    return route !== undefined && this.#links.has(route) ? route : undefined;
  }
}

function forgetOldest<K>(map: Map<K, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}
