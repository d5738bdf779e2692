import { decodeUtf8, KiB, MiB } from "../../base/index.js";
import { FrameKind, SynodError } from "../../model/index.js";
import type { FramePort, Scheduler, Timer } from "../../platform/index.js";
import { BACKUP_WINDOW_BYTES, type BackupOffer, parseBackupOffer } from "../replica/backup-serving.js";
import { NoAnswerError } from "./replica-query.js";

/** A replica from which nothing has come for this long has failed, in ms. Taking the checkpoint may take most of it. */
const SILENT_MS_MAX = 60_000;
/** Longest chunk that is taken: a checkpoint's, of at most 16 MiB, and its head. */
const CHUNK_BYTES_MAX = 16 * MiB + 64;

/** What becomes of a backup's parts, in order: the offer once, then the chunks. Each is awaited before the next. */
export interface BackupSink {
  begin(offer: BackupOffer): Promise<void>;
  write(chunk: Uint8Array): Promise<void>;
}

/** The replica sends no checkpoint now; after `retryMs` it may. 0: it never will. */
export class BackupRefusedError extends SynodError {
  readonly retryMs: number;
  constructor(message: string, retryMs: number) {
    super("SYNOD_BACKUP_REFUSED", message);
    this.retryMs = retryMs;
  }
}

/**
 * Fetches a checkpoint from the replica behind link 0 of a port that dials it. The port is started here and stays the
 * caller's to close. Resolves when the last chunk is stored; rejects with `BackupRefusedError`, `NoAnswerError` after a
 * minute without progress, `SynodError` when the connection is lost on the way, or what the sink rejected with.
 */
export function fetchBackup(port: FramePort, scheduler: Scheduler, sink: BackupSink): Promise<BackupOffer> {
  return new Promise((resolve, reject) => {
    new BackupFetch(port, scheduler, sink, resolve, reject).start();
  });
}

class BackupFetch {
  readonly #port: FramePort;
  readonly #scheduler: Scheduler;
  readonly #sink: BackupSink;
  readonly #resolve: (offer: BackupOffer) => void;
  readonly #reject: (error: Error) => void;
  readonly #silence: Timer;
  readonly #transfer = 1;
  readonly #waiting: (Uint8Array | null)[] = [];
  #waitingBytes = 0;
  #offer: BackupOffer | null = null;
  #asked = false;
  /** Index of the chunk that must arrive next, and how many are stored. */
  #next = 0;
  #stored = 0;
  #storing = false;
  #ended = false;

  constructor(
    port: FramePort,
    scheduler: Scheduler,
    sink: BackupSink,
    resolve: (offer: BackupOffer) => void,
    reject: (error: Error) => void,
  ) {
    this.#port = port;
    this.#scheduler = scheduler;
    this.#sink = sink;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#silence = scheduler.timer(() => {
      // As long as this side's disk is at work nothing has to come.
      if (this.#storing) this.#heard();
      else this.#fail(new NoAnswerError(`the replica sent nothing for ${SILENT_MS_MAX} ms`));
    });
  }

  start(): void {
    this.#heard();
    this.#port.start({
      onLink: (link, up) => {
        if (link === 0) this.#onLink(up);
      },
      onFrame: (link, kind, bytes, view, start, end) => {
        if (link === 0) this.#onFrame(kind, bytes, view, start, end);
      },
      onDrain: () => undefined,
    });
  }

  #onLink(up: boolean): void {
    if (this.#ended) return;
    if (!up) {
      if (this.#asked) this.#fail(new SynodError("SYNOD_CONNECTION", "the connection to the replica was lost"));
      return;
    }
    this.#asked = true;
    const body = this.#port.begin(0, FrameKind.backupRequest);
    if (body === null) return;
    body.u32(this.#transfer);
    this.#port.end();
    this.#port.flush();
  }

  #onFrame(kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): void {
    if (this.#ended) return;
    this.#heard();
    if (kind === FrameKind.backupOffer) {
      const offer = parseBackupOffer(bytes, start, end);
      if (offer === null || this.#offer !== null) return this.#malformed();
      this.#offer = offer;
      void this.#store(() => this.#sink.begin(offer));
    } else if (kind === FrameKind.backupRefuse) {
      if (end - start < 8 || end - start > 64 * KiB) return this.#malformed();
      const reason = decodeUtf8(bytes, start + 8, end);
      this.#fail(new BackupRefusedError(reason, view.getUint32(start + 4, true)));
    } else if (kind === FrameKind.backupChunk) {
      const malformed =
        this.#offer === null ||
        end - start < 9 ||
        end - start > CHUNK_BYTES_MAX ||
        view.getUint32(start, true) !== this.#transfer ||
        view.getUint32(start + 4, true) !== this.#next ||
        // A replica has no more on their way than its window, which the last chunk may exceed.
        this.#waitingBytes > BACKUP_WINDOW_BYTES;
      if (malformed) return this.#malformed();
      this.#next++;
      this.#waiting.push(view.getUint8(start + 8) === 1 ? null : bytes.slice(start + 9, end));
      this.#waitingBytes += end - start - 9;
      if (!this.#storing) void this.#store(null);
    }
  }

  /** Runs `first` and then stores what has come meanwhile, one chunk after the other. */
  async #store(first: (() => Promise<void>) | null): Promise<void> {
    this.#storing = true;
    try {
      if (first !== null) await first();
      for (;;) {
        const chunk = this.#waiting.shift();
        if (chunk === undefined || this.#ended) break;
        if (chunk === null) return this.#succeed();
        this.#waitingBytes -= chunk.length;
        await this.#sink.write(chunk);
        this.#stored++;
        this.#acknowledge();
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#storing = false;
    }
  }

  #acknowledge(): void {
    const body = this.#port.begin(0, FrameKind.backupAcknowledge);
    if (body === null) return;
    body.u32(this.#transfer);
    body.u32(this.#stored);
    this.#port.end();
    this.#port.flush();
  }

  #heard(): void {
    this.#silence.set(this.#scheduler.clock.monotonicMs() + SILENT_MS_MAX);
  }

  #malformed(): void {
    this.#fail(new SynodError("SYNOD_CONNECTION", "the replica sent something that is no part of a backup"));
  }

  #succeed(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#silence.clear();
    this.#resolve(this.#offer as BackupOffer);
  }

  #fail(error: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#silence.clear();
    this.#reject(error);
  }
}
