import { type ByteWriter, Ring } from "../../base/index.js";
import { Barrier, type BarrierPoint, type PsmrSink, Waiting } from "../../execution/index.js";
import {
  type Batch,
  type ExecutionEvent,
  type Instance,
  optimisticMapping,
  type QueueVisitor,
  type SharedService,
  type SnapshotSource,
} from "../../model/index.js";
import type { DeliverySink, Merge, Pacing, StreamId } from "../../multicast/index.js";
import type { BlockClient } from "../../runtime/index.js";
import { connectStreams } from "../workload/index.js";
import type { Disguise } from "../world/index.js";
import { assembledReads } from "./assembled-reads.js";
import { aroundThread, PassingThread } from "./passing-thread.js";

/** A barrier takes less than this while nothing is wrong, in virtual ms. */
const PATIENCE_MS = 250;
/** How far a coordinator looks ahead of what is decided. */
const AHEAD = 3;
/** Once in so many virtual ms a thread that is blocked looks again. */
const LOOK_MS = 0.2;

/** A thread that has waited for long is let go on by itself. */
export const barrierReleasedEarly = (): Disguise =>
  aroundThread((inner, { parts, process }) => {
    let since = -1;
    let at = 0;
    return new (class extends PassingThread {
      override step(event: ExecutionEvent, out: PsmrSink): void {
        super.step(event, out);
        const { waiting, barrier, executor } = inner.inspect();
        if (waiting !== Waiting.release) return;
        const now = process.clock.monotonicMs();
        if (barrier !== at) {
          at = barrier;
          since = now;
        } else if (now - since > PATIENCE_MS) {
          new Barrier(parts.psmr.memory, parts.psmr.threads).release(executor, barrier);
        }
      }
    })(inner);
  });

/** While a thread waits at a barrier, its event loop does nothing else: it neither votes nor answers. */
export const loopBlocked = (): Disguise =>
  aroundThread((inner, { process }) => {
    const point: BarrierPoint = { words: new Int32Array(0), index: 0, value: 0 };
    const look = (): void => {
      if (!process.alive || !process.paused) return;
      if (inner.waitsAt(point)) process.kernel.after(LOOK_MS, look);
      else process.resume();
    };
    return new (class extends PassingThread {
      override step(event: ExecutionEvent, out: PsmrSink): void {
        super.step(event, out);
        if (process.paused || !inner.waitsAt(point)) return;
        process.pause();
        process.kernel.after(LOOK_MS, look);
      }
    })(inner);
  });

/** The threads of a replica that was started again know another mapping, by which inserts and deletes concern one group. */
export const mappingDiffers = (): Disguise => ({
  members: {
    siblings: (real, { life }) => ({
      ...real,
      createThread: (parts, thread, service, mappings, options) => {
        const other = optimisticMapping(service, mappings.conservative.groups);
        const mistaken = { conservative: other, optimistic: other };
        return real.createThread(parts, thread, service, life === 1 ? mappings : mistaken, options);
      },
    }),
  },
});

/** A replica that was started again delivers what arrives first. */
export const mergedByArrival = (): Disguise => ({
  members: {
    siblings: (real, { life }) => ({
      ...real,
      createMerge: (config, stream) => {
        const merge = real.createMerge(config, stream);
        return life === 1 ? merge : new ArrivalMerge(merge, stream);
      },
    }),
  },
});

/** Stands on the positions of a merge, and delivers in the order of offers. */
class ArrivalMerge implements Merge {
  readonly #inner: Merge;
  readonly #group: StreamId;
  readonly #queue = new Ring<{ readonly stream: StreamId; readonly instance: Instance; readonly batch: Batch }>(65_536);
  readonly #offered = new Map<StreamId, Instance>();
  readonly #delivered = new Map<StreamId, Instance>();

  constructor(inner: Merge, group: StreamId) {
    this.#inner = inner;
    this.#group = group;
  }

  get waitsFor(): StreamId {
    return this.#queue.size > 0 ? -1 : this.#group;
  }

  offer(stream: StreamId, instance: Instance, batch: Batch): boolean {
    if (this.#queue.full) return false;
    this.#queue.push({ stream, instance, batch });
    this.#offered.set(stream, instance);
    return true;
  }

  deliver(out: DeliverySink, instancesMax: number): number {
    for (let count = 0; count < instancesMax; count++) {
      const next = this.#queue.shift();
      if (next === undefined) return count;
      this.#delivered.set(next.stream, next.instance);
      out.delivered(next.stream, next.instance, next.batch);
    }
    return instancesMax;
  }

  delivered(stream: StreamId): Instance {
    return this.#delivered.get(stream) ?? this.#inner.delivered(stream);
  }

  expected(stream: StreamId): Instance {
    return (this.#offered.get(stream) ?? this.#inner.delivered(stream)) + 1;
  }

  save(writer: ByteWriter): void {
    writer.f64(this.delivered(this.#group));
    writer.f64(this.delivered(0));
  }

  restore(view: DataView, at: number, end: number): number {
    return this.#inner.restore(view, at, end);
  }

  queues(visit: QueueVisitor): void {
    this.#inner.queues(visit);
  }
}

/** Passes everything on to a pacing that may be replaced. */
class PassingPacing implements Pacing {
  protected inner: Pacing;

  constructor(inner: Pacing) {
    this.inner = inner;
  }

  decided(instance: Instance, batch: Batch): void {
    this.inner.decided(instance, batch);
  }

  awaited(batch: Batch): boolean {
    return this.inner.awaited(batch);
  }

  lead(opened: Instance): void {
    this.inner.lead(opened);
  }

  follow(): void {
    this.inner.follow();
  }

  allDecided(through: Instance): void {
    this.inner.allDecided(through);
  }

  mark(writer: ByteWriter, now: number): boolean {
    return this.inner.mark(writer, now);
  }

  proposed(instance: Instance, batch: Batch): void {
    this.inner.proposed(instance, batch);
  }

  due(now: number): number {
    return this.inner.due(now);
  }

  save(writer: ByteWriter): void {
    this.inner.save(writer);
  }

  restore(view: DataView, at: number, end: number): number {
    return this.inner.restore(view, at, end);
  }
}

/** A coordinator in a replica that was started again counts the logical instances of its stream from 0 on. */
export const skipCountLost = (): Disguise => ({
  members: {
    siblings: (real, { life }) => ({
      ...real,
      createPacing: (config, stream) => {
        const create = (): Pacing => real.createPacing(config, stream);
        return life === 1
          ? create()
          : new (class extends PassingPacing {
              override lead(opened: Instance): void {
                this.inner = create();
                super.lead(opened);
              }
            })(create());
      },
    }),
  },
});

/** A coordinator in a replica that was started again names instances of g_all that nobody has decided. */
export const undecidedPrefix = (): Disguise => ({
  members: {
    siblings: (real, { life }) => ({
      ...real,
      createPacing: (config, stream) => {
        const pacing = real.createPacing(config, stream);
        return life === 1 || stream === 0
          ? pacing
          : new (class extends PassingPacing {
              override allDecided(through: Instance): void {
                super.allDecided(through + AHEAD);
              }
            })(pacing);
      },
    }),
  },
});

/** The service is marked for a checkpoint when its first slice is written, behind the barrier of the cut. */
export const cutThroughBarrier = (): Disguise => ({
  members: {
    service: (real) => ({
      name: real.name,
      createShared: (groups) => snapshotLate(real.createShared(groups)),
      attach: (description, thread, groups) => snapshotLate(real.attach(description, thread, groups)),
      mapping: (groups) => real.mapping(groups),
    }),
  },
});

function snapshotLate<T extends SharedService>(service: T): T {
  const snapshot = service.snapshot.bind(service);
  service.snapshot = () => {
    let source: SnapshotSource | null = null;
    return {
      next: (writer, bytesTarget) => (source ??= snapshot()).next(writer, bytesTarget),
      close: () => source?.close(),
    };
  };
  return service;
}

/** A thread does not take over what others have changed at a barrier, once its replica was started again. */
export const barrierNotAdopted = (): Disguise => ({
  members: {
    siblings: (real, { life }) => ({
      ...real,
      createThread: (parts, thread, service, mappings, options) => {
        if (life > 1) service.adopt = () => {};
        return real.createThread(parts, thread, service, mappings, options);
      },
    }),
  },
});

/** Clients read several keys one by one, and put the answers together. */
export const readsAssembled = (): Disguise => ({
  members: {
    client: (init, ports, mapping, prng): BlockClient =>
      assembledReads(init, (own) => connectStreams(own, ports, mapping, prng)),
  },
});
