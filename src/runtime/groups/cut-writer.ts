import { assert, ByteWriter, KiB } from "../../base/index.js";
import type { Instance, SnapshotSource } from "../../model/index.js";
import type { CheckpointInfo, CheckpointStore, CheckpointWriter } from "../../platform/index.js";
import {
  placesSection,
  serviceSection,
  sessionsSection,
  writeCutEnd,
  writeCutHeader,
  writeCutRecord,
} from "./cut-format.js";
import { MemberMessage } from "./member-message.js";
import type { MessageReceiver } from "./message-ring.js";

/**
 * Slices that may bring nothing one behind the other, as those of a store where many entries were removed. Behind so many, the thread
 * most likely waits at a barrier, where its part of the state is not its own: a later turn goes on, and the one that ends its waiting
 * is one.
 */
export const EMPTY_SLICES_MAX = 64;
/** Bytes of a chunk of the checkpoint, about. */
const CHUNK_BYTES = 256 * KiB;

export interface CutWriterInit {
  readonly groups: number;
  readonly store: CheckpointStore;
  readonly sliceBytes: number;
  /** The rings of the parts of threads 1, 2, …; and what rings for them. */
  readonly parts: readonly MessageReceiver[];
  ring(thread: number): void;
  /** A chunk has been taken by the disk: `pump` can go on. */
  advanced(): void;
  done(error: Error | null, info: CheckpointInfo | null, positions: readonly Instance[]): void;
}

interface Cutting {
  readonly writer: CheckpointWriter;
  readonly digest: string;
  readonly positions: Instance[];
  /** What the first thread writes itself, by section; taken off when it has ended. */
  readonly own: { readonly section: number; readonly source: SnapshotSource }[];
  /** Sections that have not ended. */
  left: number;
  writing: boolean;
  ended: boolean;
}

/**
 * Writes cuts as checkpoints, in the first thread: its own part and the service in slices, and the parts of the other threads
 * as they come, while all of them go on.
 */
export class CutWriter {
  readonly #init: CutWriterInit;
  readonly #chunk = new ByteWriter(2 * CHUNK_BYTES);
  /** Bytes of the chunk that the disk has been given. */
  #given = 0;
  readonly #slice = new ByteWriter(CHUNK_BYTES);
  #cutting: Cutting | null = null;
  #recorded = 0;

  constructor(init: CutWriterInit) {
    this.#init = init;
  }

  get busy(): boolean {
    return this.#cutting !== null;
  }

  /** Bytes of cuts that have come so far, while it waits for more of one; -1 while it does not. */
  get waitingAt(): number {
    const cutting = this.#cutting;
    return cutting === null || cutting.writing || cutting.ended ? -1 : this.#recorded;
  }

  /** Begins: the first thread is at `own` of its stream and at `all` of g_all. */
  begin(
    all: Instance,
    own: Instance,
    digest: string,
    sessions: SnapshotSource,
    service: SnapshotSource,
    places: (writer: ByteWriter) => void,
  ): void {
    assert(this.#cutting === null, "a cut was taken before the one before it was written");
    const { groups, store } = this.#init;
    const positions: Instance[] = [all, own];
    for (let i = 1; i < groups; i++) positions.push(-1);
    this.#chunk.clear();
    this.#given = 0;
    writeCutHeader(this.#chunk, groups);
    this.#slice.clear();
    places(this.#slice);
    this.#record(placesSection(0), this.#slice.bytes, 0, this.#slice.length);
    writeCutRecord(this.#chunk, placesSection(0), 0);
    this.#cutting = {
      writer: store.begin(all),
      digest,
      positions,
      own: [
        { section: sessionsSection(0), source: sessions },
        { section: serviceSection(groups), source: service },
      ],
      left: 2 * groups,
      writing: false,
      ended: false,
    };
    this.#init.advanced();
  }

  /** Goes on with what is there, unless the disk is at work. */
  pump(): void {
    const cutting = this.#cutting;
    if (cutting === null || cutting.writing) return;
    if (this.#chunk.length === this.#given) {
      this.#chunk.clear();
      this.#given = 0;
      this.#gather(cutting);
    }
    if (this.#chunk.length === this.#given) return;
    cutting.writing = true;
    const start = this.#given;
    this.#given = Math.min(this.#chunk.length, start + CHUNK_BYTES);
    cutting.writer.write(this.#chunk.bytes, start, this.#given, (error) => {
      if (this.#cutting !== cutting) return;
      cutting.writing = false;
      if (error !== null) return this.#finish(error, null);
      if (!cutting.ended || this.#given < this.#chunk.length) return this.#init.advanced();
      cutting.writing = true;
      cutting.writer.commit(cutting.digest, (failure, info) => {
        if (this.#cutting === cutting) this.#finish(failure, info);
      });
    });
  }

  close(): void {
    const cutting = this.#cutting;
    this.#cutting = null;
    if (cutting === null) return;
    for (const { source } of cutting.own) source.close();
    if (!cutting.ended) cutting.writer.abort();
  }

  #gather(cutting: Cutting): void {
    const { parts, groups, sliceBytes } = this.#init;
    for (const [i, part] of parts.entries()) {
      const thread = i + 1;
      const roomMade = part.receive((kind, number, bytes, _view, start, end) => {
        if (kind === MemberMessage.position) cutting.positions[thread + 1] = number;
        else {
          const ours = number === placesSection(thread) || number === sessionsSection(thread);
          assert(kind === MemberMessage.section && ours, `thread ${thread} sent section ${number} of a cut`);
          this.#record(number, bytes, start, end);
          if (start === end) cutting.left--;
        }
        return this.#chunk.length < CHUNK_BYTES;
      });
      if (roomMade) this.#init.ring(thread);
    }
    const own = cutting.own[0];
    if (own !== undefined && this.#chunk.length < CHUNK_BYTES) {
      this.#slice.clear();
      let more = true;
      for (let slice = 0; slice < EMPTY_SLICES_MAX && more && this.#slice.length === 0; slice++) {
        more = own.source.next(this.#slice, sliceBytes);
      }
      if (this.#slice.length > 0) this.#record(own.section, this.#slice.bytes, 0, this.#slice.length);
      if (!more) {
        own.source.close();
        cutting.own.shift();
        writeCutRecord(this.#chunk, own.section, 0);
        cutting.left--;
      }
    }
    // The places of the first thread were written at the beginning.
    if (cutting.left > 0 || cutting.ended) return;
    assert(cutting.positions.length === groups + 1, "a cut has a position for each stream");
    writeCutEnd(this.#chunk, cutting.positions);
    cutting.ended = true;
  }

  #record(section: number, bytes: Uint8Array, start: number, end: number): void {
    this.#recorded += end - start;
    writeCutRecord(this.#chunk, section, end - start);
    this.#chunk.copy(bytes, start, end);
  }

  #finish(error: Error | null, info: CheckpointInfo | null): void {
    const { positions } = this.#cutting as Cutting;
    this.#cutting = null;
    this.#init.done(error, info, positions);
  }
}
