import { assert, type ByteWriter } from "../../base/index.js";
import type { FrameHandlers, FramePort } from "../port.js";

/** Which link of which port stands behind a link of the combined one. */
export interface CombinedRoute {
  readonly link: number;
  readonly port: FramePort;
  readonly portLink: number;
}

/**
 * Several ports as one, for a client whose link numbers are replica ids: its own replica in memory, the others by TCP.
 * The routes are fixed; events of links that no route names are dropped.
 */
export class CombinedFramePort implements FramePort {
  readonly #routes = new Map<number, CombinedRoute>();
  readonly #ports: readonly FramePort[];
  #writing: FramePort | null = null;

  constructor(routes: readonly CombinedRoute[]) {
    for (const route of routes) {
      assert(!this.#routes.has(route.link), `two routes for link ${route.link}`);
      this.#routes.set(route.link, route);
    }
    this.#ports = [...new Set(routes.map((route) => route.port))];
  }

  start(handlers: FrameHandlers): void {
    for (const port of this.#ports) {
      const links = new Map<number, number>();
      for (const route of this.#routes.values()) if (route.port === port) links.set(route.portLink, route.link);
      port.start({
        onLink: (portLink, up) => {
          const link = links.get(portLink);
          if (link !== undefined) handlers.onLink(link, up);
        },
        onFrame: (portLink, kind, bytes, view, start, end) => {
          const link = links.get(portLink);
          if (link !== undefined) handlers.onFrame(link, kind, bytes, view, start, end);
        },
        onDrain: (portLink) => {
          const link = links.get(portLink);
          if (link !== undefined) handlers.onDrain(link);
        },
      });
    }
  }

  begin(link: number, kind: number): ByteWriter | null {
    assert(this.#writing === null, "begin before the end of the last frame");
    const route = this.#routes.get(link);
    if (route === undefined) return null;
    const writer = route.port.begin(route.portLink, kind);
    if (writer !== null) this.#writing = route.port;
    return writer;
  }

  end(): void {
    const port = this.#writing;
    assert(port !== null, "end without begin");
    this.#writing = null;
    port.end();
  }

  flush(): void {
    for (let i = 0; i < this.#ports.length; i++) (this.#ports[i] as FramePort).flush();
  }

  inFlightBytes(link: number): number {
    const route = this.#routes.get(link);
    return route === undefined ? 0 : route.port.inFlightBytes(route.portLink);
  }

  pause(link: number): void {
    const route = this.#routes.get(link);
    route?.port.pause(route.portLink);
  }

  resume(link: number): void {
    const route = this.#routes.get(link);
    route?.port.resume(route.portLink);
  }

  disconnect(link: number, reason: string): void {
    const route = this.#routes.get(link);
    route?.port.disconnect(route.portLink, reason);
  }

  close(done: () => void): void {
    assert(this.#ports.length > 0, "nothing to close");
    let open = this.#ports.length;
    for (const port of this.#ports) {
      port.close(() => {
        if (--open === 0) done();
      });
    }
  }
}
