import { hashBytes } from "../../base/index.js";
import {
  type Ballot,
  BatchArena,
  type Instance,
  majority,
  type ProtocolCodec,
  type ReplicaId,
  type Span,
} from "../../model/index.js";
import type { FramePort, IdentityStore, LogStorage, ReplicaPlatform } from "../../platform/index.js";
import { WorldViolation } from "./violation.js";

/** Seed under which the host hashes decided batches for the trace stream. */
const VALUE_HASH_SEED = 7;

/** The shapes of records and messages that say what an acceptor did. Orderings whose acceptors do so use these names. */
interface AcceptedRecord {
  readonly kind: "accepted";
  readonly instance: Instance;
  readonly ballot: Ballot;
  readonly batch: Span;
}
/** A replica that had no memory has one again from here on: under the nonce that its identity then holds. */
interface RejoinedRecord {
  readonly kind: "rejoined";
  readonly nonce: number;
}
interface Said {
  readonly kind: string;
  readonly ballot?: Ballot;
  readonly instance?: Instance;
}
/** One of the chunks in which a promise leaves. */
interface PromiseChunk {
  readonly ballot: Ballot;
  readonly chunk: number;
  readonly last: boolean;
  readonly decided: Instance;
  readonly trimmed: Instance;
  readonly entries: readonly { readonly instance: Instance; readonly ballot: Ballot }[];
}
/** The chunks of a promise that have left so far. */
interface Telling {
  readonly ballot: Ballot;
  chunks: number;
  readonly told: Map<Instance, Ballot>;
}

/** A value is told by its hash. */
interface Vote {
  readonly instance: Instance;
  readonly ballot: Ballot;
  readonly hash: number;
}

/** What the witness takes from a record of a log. */
type Stored = { readonly kind: "vote"; readonly vote: Vote } | RejoinedRecord;

/** The replicas, as bits, that have had this vote durable. */
interface Voters {
  readonly vote: Vote;
  replicas: number;
}

/**
 * Watches acceptors at the edge of their process, where their records become durable and their messages leave, and knows
 * of each value which replicas have ever held it durably. Four invariants of Paxos need no more:
 *
 * - *decided-is-durable*: when an instance is first reported decided, a majority has made one and the same vote for it durable.
 * - *promises-are-kept*: a replica that has said a promise says no vote in a lower ballot, across all its crashes.
 * - *votes-are-told*: a promise tells of every vote that its replica has said above what it holds as decided, in that ballot
 *   or a later one, across all its crashes and whatever its disk has lost.
 * - *amnesiacs-are-silent*: a replica that lost its memory says neither promise nor vote before it has rejoined.
 */
export class VoteWitness {
  readonly #codec: ProtocolCodec<unknown, unknown>;
  readonly #majority: number;
  readonly #scratch = new BatchArena(64 * 1024, 1);
  /** By instance the different votes for it, of which there are few. */
  readonly #votes = new Map<Instance, Voters[]>();
  readonly #decided = new Map<Instance, number>();
  readonly #promised = new Map<ReplicaId, Ballot>();
  /** Of each replica the votes it has said, above what its last promise held as decided. */
  readonly #said = new Map<ReplicaId, Map<Instance, Ballot>>();
  readonly #telling = new Map<ReplicaId, Telling>();
  readonly #forgetful = new Set<ReplicaId>();
  /** The nonce that the identity of a replica holds: of its last loss of memory. */
  readonly #nonces = new Map<ReplicaId, number>();
  /** Replicas that have ever said a promise or vote. */
  readonly #spoken = new Set<ReplicaId>();
  /** Message kinds of the wire by the name the codec gives them, learnt from what it decodes. */
  readonly #silent = new Set<number>();

  constructor(codec: ProtocolCodec<unknown, unknown>, replicas: number) {
    this.#codec = codec;
    this.#majority = majority(replicas);
  }

  /** The replica has lost what it stored. One that never said anything, since it went in its first recovery, lost nothing. */
  forgot(replica: ReplicaId): void {
    if (this.#spoken.has(replica)) this.#forgetful.add(replica);
  }

  /** The replica has rejoined: its promises before that are of another incarnation, which nobody counts. */
  rejoined(replica: ReplicaId): void {
    this.#forgetful.delete(replica);
    this.#promised.delete(replica);
    this.#said.delete(replica);
    this.#telling.delete(replica);
  }

  onDecided(instance: Instance, hash: number): void {
    if (this.#decided.has(instance)) return;
    this.#decided.set(instance, hash);
    const votes = this.#votes.get(instance);
    this.#votes.delete(instance);
    let most = 0;
    for (const { vote, replicas } of votes ?? []) if (vote.hash === hash) most = Math.max(most, bits(replicas));
    if (most >= this.#majority) return;
    throw new WorldViolation(
      "decided-is-durable",
      `instance ${instance} was reported decided while ${most} replicas had one vote for its value durable, of ${this.#majority} needed`,
    );
  }

  /** The platform of one process, watched. */
  around(replica: ReplicaId, platform: ReplicaPlatform): ReplicaPlatform {
    return {
      ...platform,
      log: this.#log(replica, platform.log),
      identity: this.#identity(replica, platform.identity),
      peers: this.#peers(replica, platform.peers),
    };
  }

  #identity(replica: ReplicaId, store: IdentityStore): IdentityStore {
    return {
      load: (done) => store.load(done),
      save: (identity, done) =>
        store.save(identity, (error) => {
          if (error === null) this.#nonces.set(replica, identity.amnesiaNonce);
          done(error);
        }),
      bootId: () => store.bootId(),
    };
  }

  #log(replica: ReplicaId, log: LogStorage): LogStorage {
    let writer: ReturnType<LogStorage["begin"]> | null = null;
    let start = 0;
    const pending: { position: number; vote: Vote }[] = [];
    /** The nonce of the rejoin that the log gave back; 0: it knows of none. */
    let rejoinedUnder = 0;
    return {
      recover: (visit, done) => {
        const found: Vote[] = [];
        log.recover(
          (bytes, view, from, to) => {
            const record = this.#recordOf(bytes, view, from, to);
            if (record?.kind === "vote") found.push(record.vote);
            else if (record?.kind === "rejoined") rejoinedUnder = record.nonce;
            return visit(bytes, view, from, to);
          },
          (error, condition, extent, gaps) => {
            // What a log gives back after a crash it has made durable, even if the process before never heard so.
            if (error === null) for (const vote of found) this.#durable(replica, vote);
            done(error, condition, extent, gaps);
          },
        );
      },
      reset: (done) => {
        rejoinedUnder = 0;
        log.reset(done);
      },
      start: (handlers) => {
        // It may have been killed when the record of its rejoin was durable and before it knew: the next process does.
        if (this.#forgetful.has(replica) && rejoinedUnder !== 0 && rejoinedUnder === this.#nonces.get(replica)) {
          this.rejoined(replica);
        }
        log.start({
          ...handlers,
          onDurable: (position) => {
            let confirmed = 0;
            while (confirmed < pending.length && (pending[confirmed] as { position: number }).position <= position) {
              confirmed++;
            }
            for (let i = 0; i < confirmed; i++) this.#durable(replica, (pending[i] as { vote: Vote }).vote);
            if (confirmed > 0) pending.splice(0, confirmed);
            handlers.onDurable(position);
          },
        });
      },
      begin: (instance) => {
        writer = log.begin(instance);
        start = writer.length;
        return writer;
      },
      end: () => {
        const record = writer === null ? null : this.#recordOf(writer.bytes, writer.view, start, writer.length);
        const position = log.end();
        if (record?.kind === "vote") pending.push({ position, vote: record.vote });
        return position;
      },
      flush: () => log.flush(),
      trim: (through) => log.trim(through),
      ...(log.revisit === undefined ? {} : { revisit: log.revisit.bind(log) }),
      pendingBytes: () => log.pendingBytes(),
      close: (done) => log.close(done),
    };
  }

  #peers(replica: ReplicaId, port: FramePort): FramePort {
    let writer: ReturnType<FramePort["begin"]> = null;
    let start = 0;
    let frameKind = 0;
    return {
      start: (handlers) => port.start(handlers),
      begin: (link, kind) => {
        writer = port.begin(link, kind);
        start = writer?.length ?? 0;
        frameKind = kind;
        return writer;
      },
      end: () => {
        if (writer !== null) this.#onSaid(replica, frameKind, writer.bytes, writer.view, start, writer.length);
        port.end();
      },
      flush: () => port.flush(),
      inFlightBytes: (link) => port.inFlightBytes(link),
      pause: (link) => port.pause(link),
      resume: (link) => port.resume(link),
      disconnect: (link, reason) => port.disconnect(link, reason),
      close: (done) => port.close(done),
    };
  }

  /** What a record of the log says of its replica, if that is of interest. */
  #recordOf(bytes: Uint8Array, view: DataView, start: number, end: number): Stored | null {
    const record = this.#codec.decodeRecord(bytes, view, start, end, this.#scratch, 0);
    if (record === null) return null;
    const known = record as AcceptedRecord | RejoinedRecord;
    let stored: Stored | null = null;
    if (known.kind === "accepted") {
      const { instance, ballot, batch } = known;
      const hash = hashBytes(batch.bytes, batch.start, batch.end, VALUE_HASH_SEED);
      stored = { kind: "vote", vote: { instance, ballot, hash } };
    } else if (known.kind === "rejoined") stored = { kind: "rejoined", nonce: known.nonce };
    this.#codec.forget(record, this.#scratch);
    return stored;
  }

  #durable(replica: ReplicaId, vote: Vote): void {
    if (this.#decided.has(vote.instance)) return;
    const replicas = 1 << (replica - 1);
    const votes = this.#votes.get(vote.instance);
    if (votes === undefined) {
      this.#votes.set(vote.instance, [{ vote, replicas }]);
      return;
    }
    for (const known of votes) {
      if (known.vote.ballot !== vote.ballot || known.vote.hash !== vote.hash) continue;
      known.replicas |= replicas;
      return;
    }
    votes.push({ vote, replicas });
  }

  /** A majority has had one and the same vote durable, whether or not anybody has found out. */
  #isChosen(instance: Instance): boolean {
    if (this.#decided.has(instance)) return true;
    for (const { replicas } of this.#votes.get(instance) ?? []) if (bits(replicas) >= this.#majority) return true;
    return false;
  }

  #onSaid(replica: ReplicaId, kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): void {
    if (kind > 63 || this.#silent.has(kind)) return;
    const message = this.#codec.decode(kind, bytes, view, start, end) as Said | null;
    if (message === null) return;
    if (message.kind !== "promise" && message.kind !== "accepted") {
      // Only promises and votes are of interest; decoding the others once a kind is enough.
      this.#silent.add(kind);
      return;
    }
    const ballot = message.ballot ?? 0;
    if (this.#forgetful.has(replica)) {
      throw new WorldViolation(
        "amnesiacs-are-silent",
        `replica ${replica} lost its memory and says ${message.kind} in ballot ${ballot} before it has rejoined`,
      );
    }
    this.#spoken.add(replica);
    const promised = this.#promised.get(replica) ?? 0;
    if (message.kind === "accepted" && ballot < promised) {
      throw new WorldViolation(
        "promises-are-kept",
        `replica ${replica} has promised ballot ${promised} and votes for instance ${message.instance} in ballot ${ballot}`,
      );
    }
    if (message.kind === "accepted") return this.#voted(replica, message.instance ?? 0, ballot);
    if (ballot > promised) this.#promised.set(replica, ballot);
    this.#promises(replica, message as unknown as PromiseChunk);
  }

  #voted(replica: ReplicaId, instance: Instance, ballot: Ballot): void {
    // A vote for what is chosen already need not be told: every promise quorum has one who tells of the votes that chose it.
    if (this.#isChosen(instance)) return;
    let said = this.#said.get(replica);
    if (said === undefined) this.#said.set(replica, (said = new Map<Instance, Ballot>()));
    if (ballot > (said.get(instance) ?? -1)) said.set(instance, ballot);
  }

  /** Chunks of one promise leave one after the other; one that a full link has swallowed leaves nothing to judge. */
  #promises(replica: ReplicaId, { ballot, chunk, last, decided, trimmed, entries }: PromiseChunk): void {
    let telling = this.#telling.get(replica);
    if (chunk === 0) this.#telling.set(replica, (telling = { ballot, chunks: 0, told: new Map<Instance, Ballot>() }));
    if (telling?.ballot !== ballot || telling.chunks !== chunk) return;
    telling.chunks++;
    for (const entry of entries) telling.told.set(entry.instance, entry.ballot);
    if (!last) return;
    this.#telling.delete(replica);
    const said = this.#said.get(replica);
    for (const [instance, voted] of said ?? []) {
      if (instance <= decided || instance <= trimmed) said?.delete(instance);
      else if ((telling.told.get(instance) ?? -1) < voted) {
        throw new WorldViolation(
          "votes-are-told",
          `replica ${replica} has voted for instance ${instance} in ballot ${voted}, and promises ballot ${ballot} without telling`,
        );
      }
    }
  }
}

function bits(mask: number): number {
  let count = 0;
  for (let left = mask; left !== 0; left &= left - 1) count++;
  return count;
}
