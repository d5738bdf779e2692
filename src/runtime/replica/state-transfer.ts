import type { Instance, ReplicaId } from "../../model/index.js";
import { FrameKind } from "../../model/index.js";
import type {
  CheckpointInfo,
  CheckpointReader,
  CheckpointStore,
  CheckpointWriter,
  FramePort,
} from "../../platform/index.js";

/** Chunks on their way to a fetching replica before it must have acknowledged some. */
const WINDOW_CHUNKS = 8;
/** A fetch for which nothing has come for this long is given up, in ms. */
const STALLED_MS = 3000;
/** A peer that acknowledges nothing for this long is served no more, in ms: its disk may be slow, and it starts all over. */
const SERVED_STALLED_MS = 15_000;
/** Most transfers served at once. */
const SERVED_MAX = 4;

interface Serving {
  readonly to: ReplicaId;
  readonly info: CheckpointInfo;
  readonly reader: CheckpointReader;
  sent: number;
  acknowledged: number;
  reading: boolean;
  touchedAt: number;
}

interface Fetching {
  readonly from: ReplicaId;
  readonly wanted: Instance;
  through: Instance;
  digest: string;
  writer: CheckpointWriter | null;
  /** The chunk that must arrive next. */
  next: number;
  /** Chunks that have arrived and wait for the store, which takes one at a time; null ends the checkpoint. */
  readonly waiting: { readonly index: number; readonly chunk: Uint8Array | null }[];
  storing: boolean;
  /** Everything is here and being made durable. */
  committing: boolean;
  touchedAt: number;
  readonly transfer: number;
}

/**
 * Copies a checkpoint from a peer, in chunks with a window: `stateRequest` (u32 transfer, f64 wanted) → `stateChunk`
 * (u32 transfer, u32 index, u8 last, f64 through, 32 digest characters, bytes) ← `stateAcknowledge` (u32 transfer,
 * u32 index), or `stateRefuse` (u32 transfer). The receiver writes the chunks to its own checkpoint store, where they
 * become durable before anything of them is installed.
 */
export class StateTransfer {
  readonly #peers: FramePort;
  readonly #store: CheckpointStore;
  readonly #latest: () => CheckpointInfo | null;
  readonly #now: () => number;
  readonly #done: (error: Error | null, from: ReplicaId, info: CheckpointInfo | null) => void;
  readonly #serving = new Map<ReplicaId, Serving>();
  #fetching: Fetching | null = null;
  #transfers = 0;

  constructor(init: {
    peers: FramePort;
    store: CheckpointStore;
    latest: () => CheckpointInfo | null;
    now: () => number;
    done: (error: Error | null, from: ReplicaId, info: CheckpointInfo | null) => void;
  }) {
    this.#peers = init.peers;
    this.#store = init.store;
    this.#latest = init.latest;
    this.#now = init.now;
    this.#done = init.done;
  }

  get fetching(): boolean {
    return this.#fetching !== null;
  }

  get serving(): boolean {
    return this.#serving.size > 0;
  }

  fetch(from: ReplicaId, wanted: Instance): void {
    if (this.#fetching !== null) return;
    const transfer = ++this.#transfers;
    this.#fetching = {
      from,
      wanted,
      through: 0,
      digest: "",
      writer: null,
      next: 0,
      waiting: [],
      storing: false,
      committing: false,
      touchedAt: this.#now(),
      transfer,
    };
    const body = this.#peers.begin(from, FrameKind.stateRequest);
    if (body === null) return;
    body.u32(transfer);
    body.f64(wanted);
    this.#peers.end();
  }

  onFrame(from: ReplicaId, kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
    const size = end - start;
    if (kind === FrameKind.stateRequest && size === 12) {
      this.#serve(from, view.getUint32(start, true), view.getFloat64(start + 4, true));
      return true;
    }
    if (kind === FrameKind.stateAcknowledge && size === 8) {
      const serving = this.#serving.get(from);
      if (serving !== undefined) {
        serving.acknowledged = Math.max(serving.acknowledged, view.getUint32(start + 4, true) + 1);
        serving.touchedAt = this.#now();
        this.#sendMore(serving, view.getUint32(start, true));
      }
      return true;
    }
    if (kind === FrameKind.stateRefuse && size === 4) {
      if (this.#fetching?.transfer === view.getUint32(start, true)) this.#fail("the peer has no such checkpoint");
      return true;
    }
    if (kind === FrameKind.stateChunk && size >= 49) {
      this.#receive(from, bytes, view, start, end);
      return true;
    }
    return false;
  }

  /** Gives up what has stalled. Called about once a second. */
  onTick(): void {
    const now = this.#now();
    for (const serving of this.#serving.values()) {
      if (serving.touchedAt < now - SERVED_STALLED_MS) this.#stopServing(serving);
    }
    const fetching = this.#fetching;
    // While the own disk is at work nothing has to come: a slow one would otherwise never get to the end of a transfer.
    if (fetching !== null && !fetching.storing && fetching.touchedAt < now - STALLED_MS) this.#fail("no progress");
  }

  onPeerGone(peer: ReplicaId): void {
    const serving = this.#serving.get(peer);
    if (serving !== undefined) this.#stopServing(serving);
    // Once everything has come the peer is not needed any more, and a commit can't be taken back.
    if (this.#fetching?.from === peer && !this.#fetching.committing) this.#fail("the connection closed");
  }

  /** Gives up what is being fetched, unless all of it has come and is being made durable. True if nothing is fetched now. */
  abandon(reason: string): boolean {
    if (this.#fetching?.committing === true) return false;
    if (this.#fetching !== null) this.#fail(reason);
    return true;
  }

  close(): void {
    for (const serving of this.#serving.values()) this.#stopServing(serving);
    if (this.#fetching?.committing === false) this.#fetching.writer?.abort();
    this.#fetching = null;
  }

  #serve(to: ReplicaId, transfer: number, wanted: Instance): void {
    const old = this.#serving.get(to);
    if (old !== undefined) this.#stopServing(old);
    const info = this.#latest();
    if (info === null || info.through < wanted || this.#serving.size >= SERVED_MAX) {
      const body = this.#peers.begin(to, FrameKind.stateRefuse);
      if (body !== null) {
        body.u32(transfer);
        this.#peers.end();
      }
      return;
    }
    const reader = this.#store.read(info.through);
    const serving = { to, info, reader, sent: 0, acknowledged: 0, reading: false, touchedAt: this.#now() };
    this.#serving.set(to, serving);
    this.#sendMore(serving, transfer);
  }

  #sendMore(serving: Serving, transfer: number): void {
    if (serving.reading || serving.sent >= serving.acknowledged + WINDOW_CHUNKS) return;
    serving.reading = true;
    serving.reader.next((error, chunk) => {
      serving.reading = false;
      if (this.#serving.get(serving.to) !== serving) return;
      const body = error === null ? this.#peers.begin(serving.to, FrameKind.stateChunk) : null;
      if (body === null) return this.#stopServing(serving);
      body.u32(transfer);
      body.u32(serving.sent++);
      body.u8(chunk === null ? 1 : 0);
      body.f64(serving.info.through);
      body.latin1(serving.info.digest.padEnd(32, " ").slice(0, 32));
      if (chunk !== null) body.copy(chunk, 0, chunk.length);
      this.#peers.end();
      this.#peers.flush();
      if (chunk === null) this.#stopServing(serving);
      else this.#sendMore(serving, transfer);
    });
  }

  #stopServing(serving: Serving): void {
    serving.reader.close();
    this.#serving.delete(serving.to);
  }

  #receive(from: ReplicaId, bytes: Uint8Array, view: DataView, start: number, end: number): void {
    const fetching = this.#fetching;
    if (fetching === null || from !== fetching.from || view.getUint32(start, true) !== fetching.transfer) return;
    const index = view.getUint32(start + 4, true);
    const last = view.getUint8(start + 8) === 1;
    const through = view.getFloat64(start + 9, true);
    if (index !== fetching.next) return this.#fail("a chunk is missing");
    let digest = "";
    for (let i = 0; i < 32; i++) digest += String.fromCharCode(bytes[start + 17 + i] as number);
    if (index === 0) {
      if (!Number.isSafeInteger(through) || through < fetching.wanted || !/^[0-9a-f]{32}$/.test(digest))
        return this.#fail("a malformed chunk");
      fetching.through = through;
      fetching.digest = digest;
      fetching.writer = this.#store.begin(through);
    } else if (through !== fetching.through || digest !== fetching.digest) {
      return this.#fail("the checkpoint changed under way");
    }
    // The sender never has more chunks on their way than its window, so neither do more wait here; the copy is theirs.
    if (fetching.waiting.length > WINDOW_CHUNKS) return this.#fail("more chunks than were asked for");
    fetching.next++;
    fetching.touchedAt = this.#now();
    fetching.waiting.push({ index, chunk: last ? null : bytes.slice(start + 49, end) });
    this.#storeNext(fetching);
  }

  /** Gives the store one chunk after the other, each when it has taken the last; then commits. */
  #storeNext(fetching: Fetching): void {
    const writer = fetching.writer as CheckpointWriter;
    const next = fetching.storing ? undefined : fetching.waiting.shift();
    if (next === undefined) return;
    fetching.storing = true;
    const { index, chunk } = next;
    if (chunk === null) {
      fetching.committing = true;
      writer.commit(fetching.digest, (error, info) => {
        if (this.#fetching !== fetching) return;
        this.#fetching = null;
        this.#done(error, fetching.from, info);
      });
      return;
    }
    writer.write(chunk, 0, chunk.length, (error) => {
      if (this.#fetching !== fetching) return;
      fetching.storing = false;
      fetching.touchedAt = this.#now();
      if (error !== null) {
        this.#fetching = null;
        this.#done(error, fetching.from, null);
        return;
      }
      this.#acknowledge(fetching, index);
      this.#storeNext(fetching);
    });
  }

  #acknowledge(fetching: Fetching, index: number): void {
    const body = this.#peers.begin(fetching.from, FrameKind.stateAcknowledge);
    if (body === null) return;
    body.u32(fetching.transfer);
    body.u32(index);
    this.#peers.end();
    this.#peers.flush();
  }

  #fail(reason: string): void {
    const fetching = this.#fetching;
    if (fetching === null || fetching.committing) return;
    this.#fetching = null;
    fetching.writer?.abort();
    this.#done(new Error(`state transfer from replica ${fetching.from} failed: ${reason}`), fetching.from, null);
  }
}
