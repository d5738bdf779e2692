import {
  type Ballot,
  ballotProposer,
  type Batch,
  type HeldSend,
  type Instance,
  type ReplicaId,
} from "../../model/index.js";
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

/** The mistake is one of replicas that were started again: the first life of each is without it. */
function inLaterLives(make: () => PassingSink): Disguise {
  return {
    siblings: (real) => {
      let lives = 0;
      return { ...real, ordering: throughSink(real.ordering, () => (lives++ === 0 ? new PassingSink() : make())) };
    },
  };
}

/** After a restart, promises and votes leave at once, beside the write that should have come first. */
class ImpatientVotes extends PassingSink {
  override persist(token: number, record: unknown, held: readonly HeldSend<unknown>[]): void {
    for (const { to, message } of held) this.out.send(to, message);
    this.out.persist(token, record, []);
  }
}
export const votesBeforePersist = (): Disguise => inLaterLives(() => new ImpatientVotes());

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

/** One instance is left out when the answer to a catch-up closes a gap, and more than that can be delivered. */
class SkippedGap extends PassingSink {
  #inStep = 0;

  override before(event: AnyEvent): AnyEvent {
    this.#inStep = event.kind === "message" && (event.message as Kinded).kind === "chosen" ? 0 : Infinity;
    return event;
  }

  override decide(instance: Instance, batch: Batch): void {
    if (++this.#inStep !== 2) this.out.decide(instance, batch);
  }
}
export const gapSkipped = (): Disguise => inOrdering(() => new SkippedGap());

/** A coordinator that was started again executes and answers what it has just proposed. */
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
export const replyBeforeDecision = (): Disguise => inLaterLives(() => new HastyReply());

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

/** A replica that has led, and does not any more, asks nobody whether it may stand for election again. */
class LeadsOnce extends PassingSink {
  #led = false;

  override before(event: AnyEvent): AnyEvent {
    if (this.view.role === "leader") this.#led = true;
    return event;
  }

  override send(to: ReplicaId, message: unknown): void {
    if (!this.#led || (message as Kinded).kind !== "preVote") this.out.send(to, message);
  }
}
export const leadsOnce = (): Disguise => inOrdering(() => new LeadsOnce());

interface Message extends Kinded {
  readonly ballot: Ballot;
  readonly instance: Instance;
}

/** Promises leave out what their sender has accepted, so a candidate fills it with no-ops. */
class EmptyPromises extends PassingSink {
  override persist(token: number, record: unknown, held: readonly HeldSend<unknown>[]): void {
    const emptied = held.map(({ to, message }) => {
      const promise = (message as Kinded).kind === "promise";
      return { to, message: promise ? { ...(message as object), entries: [] } : message };
    });
    this.out.persist(token, record, emptied);
  }
}
export const acceptedWithheld = (): Disguise => inOrdering(() => new EmptyPromises());

/** A candidate takes a promise for complete when its first part has come. */
class HastyCandidate extends PassingSink {
  override before(event: AnyEvent): AnyEvent {
    if (event.kind !== "message" || (event.message as Kinded).kind !== "promise") return event;
    return { ...event, message: { ...(event.message as object), last: true } };
  }
}
export const promiseCutShort = (): Disguise => inOrdering(() => new HastyCandidate());

/** Votes are counted rather than voters: one that comes twice counts as that of another replica. */
class CountedVotes extends PassingSink {
  readonly #seen = new Set<string>();

  override before(event: AnyEvent): AnyEvent {
    if (event.kind !== "message" || (event.message as Kinded).kind !== "accepted") return event;
    const { ballot, instance } = event.message as Message;
    const vote = `${event.from}:${ballot}:${instance}`;
    if (this.#seen.has(vote)) {
      // The third of three replicas: neither the sender nor the leader.
      const third = 6 - event.from - ballotProposer(ballot);
      return { ...event, from: third, message: { ...(event.message as object), checkpointed: 0 } };
    }
    this.#seen.add(vote);
    return event;
  }
}
export const votesCountedTwice = (): Disguise => inOrdering(() => new CountedVotes());

/** Reads that a majority has confirmed execute on whatever state there is. */
class UnwaitingReads extends PassingSink {
  override readable(ticket: number): void {
    this.out.readable(ticket, 0);
  }
}
export const readsUnwaiting = (): Disguise => inOrdering(() => new UnwaitingReads());

/** The head of a new log segment does not repeat what the segments before it say of promises. */
export const prologueEmpty = (): Disguise => ({
  siblings: (real) => {
    const { ordering } = real;
    return {
      ...real,
      ordering: {
        ...ordering,
        create: (init, config) => {
          const protocol = ordering.create(init, config);
          return {
            inspect: () => protocol.inspect(),
            step: (event, out) => protocol.step(event, out),
            prologue: () => [],
          };
        },
      },
    };
  },
});

/** A replica that answers a rejoin request keeps to itself how far it has voted. */
class ModestRejoinReplies extends PassingSink {
  override persist(token: number, record: unknown, held: readonly HeldSend<unknown>[]): void {
    const modest = held.map(({ to, message }) => {
      const reply = (message as Kinded).kind === "rejoinReply";
      return { to, message: reply ? { ...(message as object), highest: 0, promised: 0 } : message };
    });
    this.out.persist(token, record, modest);
  }
}
export const rejoinBelowVotes = (): Disguise => inOrdering(() => new ModestRejoinReplies());
