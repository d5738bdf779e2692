import type { ByteWriter } from "../../base/index.js";
import {
  BlockKind,
  type Instance,
  type Position,
  REPLY_HEADER_BYTES,
  replyKind,
  type Service,
  type SessionId,
  type SnapshotSink,
  type SnapshotSource,
  TraceCode,
} from "../../model/index.js";
import type { Disguise } from "../world/index.js";
import { aroundExecution, PassingExecution } from "./passing-execution.js";
import { aroundService, LocalService } from "./local-service.js";

// Sessions.

/** A replica that was started again has the limits of the defaults instead of those of its cluster. */
export const limitsForgotten = (): Disguise => {
  const started = new Set<number>();
  return {
    siblings: (real, replica) => ({
      ...real,
      createExecution: (service) => {
        const limits = started.has(replica) ? { sessionRepliesMax: 1, sessionIdleMs: 600_000 } : {};
        started.add(replica);
        return real.createExecution(service, limits);
      },
    }),
  };
};

/** A retransmitted block is answered by the newest reply of its session, under the number that was asked for. */
class NewestReply extends PassingExecution {
  readonly #newest = new Map<SessionId, Uint8Array>();
  #skipped = false;
  #writer!: ByteWriter;

  override replies(): ByteWriter {
    this.#writer = this.out.replies();
    return this.#writer;
  }

  override trace(code: TraceCode, a: number, b: number, c: number): void {
    this.#skipped = code === TraceCode.commandsSkipped;
    this.out.trace(code, a, b, c);
  }

  override replied(session: SessionId, position: Position, at: number): void {
    const writer = this.#writer;
    const newest = this.#newest.get(session);
    if (replyKind(writer.view, at) !== BlockKind.commands) this.#skipped = false;
    else if (!this.#skipped) this.#newest.set(session, writer.bytes.slice(at, writer.length));
    else if (newest?.length === writer.length - at) {
      writer.bytes.set(newest.subarray(REPLY_HEADER_BYTES), at + REPLY_HEADER_BYTES);
    }
    this.#skipped = false;
    this.out.replied(session, position, at);
  }
}
export const wrongReplyRemembered = (): Disguise => aroundExecution((inner) => new NewestReply(inner));

// Checkpoints.

/** A checkpoint holds the service without the sessions: an execution model that has just been made knows none. */
export const sessionsNotInCheckpoint = (): Disguise => ({
  siblings: (real) => ({
    ...real,
    createExecution: (service) => {
      const model = real.createExecution(service);
      return new (class extends PassingExecution {
        override snapshot(): SnapshotSource {
          return real.createExecution(service).snapshot();
        }
      })(model);
    },
  }),
});

/** The state is marked for a checkpoint when the first slice of the service is written, not when the checkpoint begins. */
class LateMark extends LocalService {
  override snapshot(): SnapshotSource {
    let source: SnapshotSource | null = null;
    return {
      next: (writer, bytesTarget) => (source ??= this.inner.snapshot()).next(writer, bytesTarget),
      close: () => source?.close(),
    };
  }
}
export const checkpointSeesLater = (): Disguise => aroundService((inner, localMs) => new LateMark(inner, localMs));

/** Agreed time stands behind the magic and the format of a snapshot, and begins late where one is restored. */
const TIME_AT = 8;
export const restoredLate = (): Disguise => aroundExecution((inner) => new LateRestored(inner));

class LateRestored extends PassingExecution {
  override restore(through: Instance): SnapshotSink {
    const sink = this.inner.restore(through);
    let begun = false;
    return {
      write: (bytes, start, end) => {
        const copy = bytes.slice(start, end);
        const view = new DataView(copy.buffer);
        if (!begun && copy.length >= TIME_AT + 8) view.setFloat64(TIME_AT, view.getFloat64(TIME_AT, true) + 1, true);
        begun = true;
        sink.write(copy, 0, copy.length);
      },
      finish: () => sink.finish(),
    };
  }
}

// Expiry.

/** The sweep of what has expired asks the local clock when that is far ahead of agreed time. */
class LocalSweep extends LocalService {
  override advance(time: number): void {
    const local = this.localMs();
    this.inner.advance(local > time + 5000 ? local : time, null);
  }
}
export const sweepByLocalClock = (): Disguise => aroundService((inner, localMs) => new LocalSweep(inner, localMs));

/** Reads hide what has expired by the local clock, when that is well ahead of agreed time. */
class LocalReads extends LocalService {
  override execute(...[run, replies, undo]: Parameters<Service["execute"]>): void {
    const local = this.localMs();
    if (run.readOnly && local > run.time + 5000) run.time = local;
    this.inner.execute(run, replies, undo);
  }
}
export const readsByLocalClock = (): Disguise => aroundService((inner, localMs) => new LocalReads(inner, localMs));

/** What expires is not found again after a checkpoint was restored: the sweep passes it by. */
class LostExpiries extends LocalService {
  #restored = false;

  override restore(): SnapshotSink {
    this.#restored = true;
    return this.inner.restore();
  }

  override advance(time: number): void {
    if (!this.#restored) this.inner.advance(time, null);
  }
}
export const expiriesNotRestored = (): Disguise => aroundService((inner, localMs) => new LostExpiries(inner, localMs));
