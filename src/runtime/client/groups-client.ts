import { assert } from "../../base/index.js";
import type { SessionId, Span } from "../../model/index.js";
import type { BlockClient, BlockClientHandlers } from "./block-client.js";
import { type BlockClientInit, ClientHost } from "./client-host.js";
import type { ClientPort } from "./shared-links.js";

/** The client of one stream. */
export interface StreamClient extends BlockClient {
  /** Blocks that are not done with, those included whose outcome was told as unknown. */
  readonly blocksOpen: number;
}

/**
 * Clients of all streams of a cluster with groups: 0 for g_all, i for g_i. Each stream has a session of its own (stream 0 opens
 * them all), its own leader, window and deadlines, and goes on while others have no leader. The blocks of one stream take
 * effect in the order submitted; between streams there is no order, but that what was answered comes before what is submitted
 * afterwards. With opt-PSMR the commands of a stream keep that order if they conflict, and all of them if the client is `strict`.
 * Single threaded; callbacks never run inside `submit`.
 */
export interface GroupsClient {
  readonly groups: number;
  /**
   * The clients by stream, `groups + 1` of them. They have no unordered reads: what is submitted as one is ordered. Closing
   * each of them does what `close` does.
   */
  readonly streams: readonly StreamClient[];
  /** True while `submit` to this stream is taken; when it turns true again `opened` of its handlers is called. */
  open(stream: number): boolean;
  /** As `StreamClient.blocksOpen`. */
  blocksOpen(stream: number): number;
  /** As `BlockClient.submit`. Commands of a group may go through its stream or through 0; all others go through 0. */
  submit(
    stream: number,
    token: number,
    commands: number,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    deadline?: number,
  ): void;
  /** Fails what is open with `closed`, ends the sessions and closes the ports. */
  close(done: () => void): void;
}

export interface GroupsClientInit extends Omit<BlockClientInit, "port" | "handlers"> {
  /** By member: 0 for g_all, i for g_i. Link numbers are replica ids. */
  readonly ports: readonly ClientPort[];
  /** What hears of the blocks of this stream, asked once. Tokens name blocks within a stream. */
  handlersOf(stream: number): BlockClientHandlers;
}

/** Makes and starts the clients. Throws `ConfigError` for a configuration out of bounds. */
export function createGroupsClient(init: GroupsClientInit): GroupsClient {
  return new Streams(init);
}

class Streams implements GroupsClient {
  readonly streams: readonly ClientHost[];

  constructor(init: GroupsClientInit) {
    const { ports } = init;
    assert(ports.length >= 2, `a client of groups has a port for g_all and one for each group, got ${ports.length}`);
    const borrow = (stream: number): void => this.#host(0).openSessionFor(stream);
    const lend = (stream: number, session: SessionId): void => this.#host(stream).takeSession(session);
    const resubmit = (block: Span, again: boolean): void => this.#host(0).sendConservative(block, again);
    this.streams = ports.map((port, stream) => {
      return new ClientHost(
        { ...init, port, handlers: init.handlersOf(stream) },
        { stream, reads: false, borrow: () => borrow(stream), lend, resubmit },
      );
    });
    for (const host of this.streams) host.start();
  }

  get groups(): number {
    return this.streams.length - 1;
  }

  open(stream: number): boolean {
    return this.#host(stream).open;
  }

  blocksOpen(stream: number): number {
    return this.#host(stream).blocksOpen;
  }

  submit(
    stream: number,
    token: number,
    commands: number,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    deadline?: number,
  ): void {
    this.#host(stream).submit(token, false, commands, bytes, view, start, end, deadline);
  }

  close(done: () => void): void {
    let left = this.streams.length;
    const closed = (): void => {
      if (--left === 0) done();
    };
    // Stream 0 comes last: it ends the sessions of all.
    for (const host of this.streams.toReversed()) host.close(closed);
  }

  #host(stream: number): ClientHost {
    const host = this.streams[stream];
    assert(host !== undefined, `there is no stream ${stream} in ${this.groups} groups`);
    return host;
  }
}
