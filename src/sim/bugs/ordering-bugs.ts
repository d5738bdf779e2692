import type { Ballot, Batch, HeldSend, Instance } from "../../model/index.js";
import type { Disguise } from "../world/index.js";
import { type AnyEvent, PassingSink, throughSink } from "./passing-sink.js";

// The messages and records of Multi-Paxos, as far as the bugs look at them.
interface Kinded {
  readonly kind: string;
}
interface AcceptedRecord extends Kinded {
  readonly instance: Instance;
  readonly ballot: Ballot;
  readonly batch: Batch;
}

/** Records of values learnt as chosen carry a ballot above every real one. */
const REAL_BALLOT_MAX: Ballot = 2 ** 52 - 1;

function inOrdering(make: () => PassingSink): Disguise {
  return { siblings: (real) => ({ ...real, ordering: throughSink(real.ordering, make) }) };
}

/** Promises and votes leave at once, beside the write that should have come first. */
class ImpatientVotes extends PassingSink {
  override persist(token: number, record: unknown, held: readonly HeldSend<unknown>[]): void {
    for (const { to, message } of held) this.out.send(to, message);
    this.out.persist(token, record, []);
  }
}
export const votesBeforePersist = (): Disguise => inOrdering(() => new ImpatientVotes());

/** A replica that starts again does not find its promises. */
class ForgottenPromises extends PassingSink {
  override before(event: AnyEvent): AnyEvent {
    if (event.kind !== "start") return event;
    const records = [...event.recovered.records].filter((record) => (record as Kinded).kind !== "promised");
    return { ...event, recovered: { ...event.recovered, records } };
  }
}
export const promisesForgotten = (): Disguise => inOrdering(() => new ForgottenPromises());

/** A replica with an empty directory believes that it never promised anything. */
class UnnoticedAmnesia extends PassingSink {
  override before(event: AnyEvent): AnyEvent {
    if (event.kind !== "start") return event;
    return { ...event, recovered: { ...event.recovered, amnesiaNonce: 0 } };
  }
}
export const amnesiaUnnoticed = (): Disguise => inOrdering(() => new UnnoticedAmnesia());

/** One instance is left out when a long backlog is delivered. */
class SkippedGap extends PassingSink {
  #inStep = 0;

  override before(event: AnyEvent): AnyEvent {
    this.#inStep = 0;
    return event;
  }

  override decide(instance: Instance, batch: Batch): void {
    if (++this.#inStep !== 3) this.out.decide(instance, batch);
  }
}
export const gapSkipped = (): Disguise => inOrdering(() => new SkippedGap());

/** The coordinator executes and answers what it has just proposed. */
class HastyReply extends PassingSink {
  #through: Instance = 0;

  override before(event: AnyEvent): AnyEvent {
    if (event.kind === "start") this.#through = event.recovered.checkpointThrough;
    if (event.kind === "installed") this.#through = Math.max(this.#through, event.through);
    return event;
  }

  override persist(token: number, record: unknown, held: readonly HeldSend<unknown>[]): void {
    this.out.persist(token, record, held);
    const { kind, instance, ballot, batch } = record as AcceptedRecord;
    const proposed = kind === "accepted" && held.length === 0 && ballot <= REAL_BALLOT_MAX;
    if (proposed && instance === this.#through + 1 && batch.blocks > 0) this.decide(instance, batch);
  }

  override decide(instance: Instance, batch: Batch): void {
    if (instance <= this.#through) return;
    this.#through = instance;
    this.out.decide(instance, batch);
  }
}
export const replyBeforeDecision = (): Disguise => inOrdering(() => new HastyReply());

/** Promises do not say through where their sender has delivered and trimmed, so a candidate fills what it misses with no-ops. */
class HidingPromises extends PassingSink {
  override persist(token: number, record: unknown, held: readonly HeldSend<unknown>[]): void {
    const hidden = held.map(({ to, message }) => {
      const promise = (message as Kinded).kind === "promise";
      return { to, message: promise ? { ...(message as object), decided: 0, trimmed: 0 } : message };
    });
    this.out.persist(token, record, hidden);
  }
}
export const trimHidden = (): Disguise => inOrdering(() => new HidingPromises());

/** Whoever believes to lead answers reads at once. */
class StaleReads extends PassingSink {
  override before(event: AnyEvent): AnyEvent | null {
    if (event.kind !== "read" || this.view.role !== "leader") return event;
    this.out.readable(event.ticket, this.view.decided);
    return null;
  }
}
export const readsUnconfirmed = (): Disguise => inOrdering(() => new StaleReads());

/** The log is dropped through what is decided, whatever checkpoints there are. */
class EagerTrim extends PassingSink {
  override decide(instance: Instance, batch: Batch): void {
    this.out.decide(instance, batch);
    this.out.trim(instance);
  }
}
export const trimBeforeCheckpoint = (): Disguise => inOrdering(() => new EagerTrim());
