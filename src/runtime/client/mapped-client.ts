// Hot file: blocks of commands pass here on their way to their streams. Allocations per block only, and only of one that waits.
import { assert } from "../../base/index.js";
import { sessionClientConfig } from "../../client/index.js";
import type { ClientFailure, GroupMapping, ReplicaId, SessionId, Span } from "../../model/index.js";
import type { Scheduler, Timer } from "../../platform/index.js";
import type { BlockClient, BlockClientHandlers } from "./block-client.js";
import { createGroupsClient, type GroupsClient, type GroupsClientInit } from "./groups-client.js";
import { StreamChoice } from "./stream-choice.js";

export interface MappedClientInit extends Omit<GroupsClientInit, "handlersOf"> {
  /** Which groups commands concern: that of the cluster's service. */
  readonly mapping: GroupMapping;
  readonly handlers: BlockClientHandlers;
}

/**
 * A `BlockClient` of a cluster with groups: each block goes through the one stream that takes all of its commands. Blocks take
 * effect in the order submitted, so that one for another stream than the last waits until all before it are done with. At
 * most `blocksMax` blocks are open or wait, and no further one is taken while `bytesMax` bytes wait (both of the session's
 * configuration). Who wants the streams at the same time takes a `GroupsClient`.
 *
 * Throws `ConfigError` for a configuration out of bounds.
 */
export function createMappedClient(init: MappedClientInit): BlockClient {
  return new MappedClient(init);
}

/** A block that waits for those before it. */
interface HeldBlock {
  readonly token: number;
  readonly stream: number;
  readonly commands: number;
  readonly bytes: Uint8Array;
  readonly deadline: number;
}

class MappedClient implements BlockClient {
  readonly #streams: GroupsClient;
  readonly #choice: StreamChoice;
  readonly #handlers: BlockClientHandlers;
  readonly #scheduler: Scheduler;
  readonly #timer: Timer;
  readonly #deadlineMs: number;
  readonly #blocksMax: number;
  readonly #bytesMax: number;
  /** Invariant: no stream other than this one has open blocks. */
  #current = 0;
  /** Not submitted yet, oldest first. */
  #held: HeldBlock[] = [];
  #heldBytes = 0;
  #wake = Infinity;
  #full = false;
  #closed = false;

  constructor(init: MappedClientInit) {
    const { blocksMax, bytesMax } = sessionClientConfig(init.config);
    this.#choice = new StreamChoice(init.mapping);
    this.#handlers = init.handlers;
    this.#scheduler = init.scheduler;
    this.#deadlineMs = init.deadlineMs ?? 5000;
    this.#blocksMax = blocksMax;
    this.#bytesMax = bytesMax;
    this.#timer = init.scheduler.timer(() => this.#expire());
    // What this promises is the order of all blocks, whichever keys they have.
    this.#streams = createGroupsClient({ ...init, strict: true, handlersOf: (stream) => this.#handlersOf(stream) });
    assert(
      this.#streams.groups === init.mapping.groups,
      `a mapping to ${init.mapping.groups} groups for a cluster of ${this.#streams.groups}`,
    );
  }

  get open(): boolean {
    if (this.#heldBytes >= this.#bytesMax) return false;
    return this.#streams.blocksOpen(this.#current) + this.#held.length < this.#blocksMax;
  }

  /** That of g_all. */
  get session(): SessionId {
    return this.#client(0).session;
  }

  /** That of g_all. */
  get leader(): ReplicaId {
    return this.#client(0).leader;
  }

  submit(
    token: number,
    _read: boolean,
    commands: number,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    deadline?: number,
  ): void {
    assert(!this.#closed, "a block was submitted to a closed client");
    assert(this.open, "a block was submitted while the client's window is full");
    const due = deadline ?? this.#scheduler.clock.monotonicMs() + this.#deadlineMs;
    this.#choice.look(commands, bytes, view, start);
    const stream = this.#choice.ofAll(this.#held.at(-1)?.stream ?? this.#current);
    if (this.#held.length === 0 && this.#enter(stream)) {
      this.#streams.submit(stream, token, commands, bytes, view, start, end, due);
    } else {
      this.#held.push({ token, stream, commands, bytes: bytes.slice(start, end), deadline: due });
      this.#heldBytes += end - start;
      this.#wakeAt(due);
    }
    if (!this.open) this.#full = true;
  }

  more(): void {
    assert(false, "ordered commands are answered whole");
  }

  close(done: () => void): void {
    assert(!this.#closed, "a client is closed once");
    this.#closed = true;
    this.#timer.clear();
    const held = this.#held;
    this.#held = [];
    this.#streams.close(done);
    for (const { token } of held) this.#handlers.fail(token, "closed");
  }

  #handlersOf(stream: number): BlockClientHandlers {
    return {
      resolve: (token: number, replies: Span) => {
        this.#handlers.resolve(token, replies);
        this.#tellOpened();
      },
      fail: (token: number, failure: ClientFailure) => {
        this.#handlers.fail(token, failure);
        this.#tellOpened();
      },
      pending: (token: number, commands: number, replies: Span) => this.#handlers.pending?.(token, commands, replies),
      opened: () => this.#goOn(),
      idle: () => this.#goOn(),
      ...(stream === 0 ? { leaderChanged: (leader) => this.#handlers.leaderChanged?.(leader) } : {}),
    };
  }

  /** Makes a stream the current one if the blocks before allow it; false if its next block has to wait. */
  #enter(stream: number): boolean {
    if (stream !== this.#current) {
      if (this.#streams.blocksOpen(this.#current) > 0) return false;
      this.#current = stream;
    }
    return this.#streams.open(stream);
  }

  /** Submits what waits, as far as it may go. Blocks may be done with although nobody was told: those known as unknown. */
  #goOn(): void {
    if (this.#closed) return;
    let gone = 0;
    for (const { token, stream, commands, bytes, deadline } of this.#held) {
      if (!this.#enter(stream)) break;
      const view = new DataView(bytes.buffer);
      this.#streams.submit(stream, token, commands, bytes, view, 0, bytes.length, deadline);
      this.#heldBytes -= bytes.length;
      gone++;
    }
    if (gone > 0) this.#held.splice(0, gone);
    if (this.#held.length === 0 && this.#streams.blocksOpen(this.#current) === 0) this.#handlers.idle?.();
    this.#tellOpened();
  }

  #tellOpened(): void {
    if (!this.#full || this.#closed || !this.open) return;
    this.#full = false;
    this.#handlers.opened();
  }

  /** A timer that fires for a block which has gone meanwhile is set anew then. */
  #wakeAt(deadline: number): void {
    if (deadline >= this.#wake) return;
    this.#wake = deadline;
    this.#timer.set(deadline);
  }

  #expire(): void {
    const now = this.#scheduler.clock.monotonicMs();
    const expired = this.#held.filter(({ deadline }) => deadline <= now);
    this.#held = this.#held.filter(({ deadline }) => deadline > now);
    for (const { bytes } of expired) this.#heldBytes -= bytes.length;
    this.#wake = Infinity;
    for (const { deadline } of this.#held) this.#wakeAt(deadline);
    for (const { token } of expired) this.#handlers.fail(token, "try-again");
    this.#goOn();
  }

  #client(stream: number): BlockClient {
    return this.#streams.streams[stream] as BlockClient;
  }
}
