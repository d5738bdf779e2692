import type { SimArguments } from "../scenario/index.js";
import type { Disguise } from "../world/index.js";
import { blocksOvertake, doubtDenied, readsOvertake } from "./client-bugs.js";
import { duplicatesExecuted } from "./execution-bugs.js";
import {
  acceptedWithheld,
  amnesiaUnnoticed,
  gapSkipped,
  leadsOnce,
  prologueEmpty,
  promiseCutShort,
  promisesForgotten,
  readsUnconfirmed,
  readsUnwaiting,
  rejoinBelowVotes,
  replyBeforeDecision,
  trimBeforeCheckpoint,
  trimHidden,
  votesBeforePersist,
  votesCountedTwice,
} from "./ordering-bugs.js";
import {
  checkpointAhead,
  damageUnnoticed,
  holesUnbounded,
  lastRecordCut,
  logTrimmedTooFar,
  syncClaimed,
  transferAhead,
} from "./platform-bugs.js";
import {
  checkpointSeesLater,
  expiriesNotRestored,
  limitsForgotten,
  readsByLocalClock,
  restoredLate,
  sessionsNotInCheckpoint,
  sweepByLocalClock,
  wrongReplyRemembered,
} from "./state-bugs.js";

/** A mistake that is planted to see whether the simulator finds it. */
export interface Bug {
  readonly name: string;
  /** What the mistake breaks, as the violation names it. */
  readonly invariant: string;
  /** Invariants that it may break first instead, depending on the seed. */
  readonly also?: readonly string[];
  /** What is wrong, in a sentence. */
  readonly description: string;
  /** Seeds to run, both inclusive; one of them finds it. */
  readonly seeds: readonly [number, number];
  readonly arguments: Omit<SimArguments, "seed">;
  readonly plant: () => Disguise;
}

/** What a wrong reply can break, whichever checker sees it first. */
const SEEN_BY_CLIENTS = ["linearizability", "witness", "stale-read", "real-time", "connection-order"];

const planted: readonly Bug[] = [
  {
    name: "vote-before-persist",
    invariant: "decided-is-durable",
    description: "Promises and votes of a replica that was started again leave before they are durable.",
    seeds: [1, 5],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash"] },
    plant: votesBeforePersist,
  },
  {
    name: "forgotten-promise",
    invariant: "promises-are-kept",
    description: "A replica that starts again does not find the promises in its log.",
    seeds: [1, 120],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash-all", "isolate", "partition", "transfer"] },
    plant: promisesForgotten,
  },
  {
    name: "amnesia-unnoticed",
    invariant: "amnesiacs-are-silent",
    description: "A replica with an empty directory votes without having rejoined.",
    seeds: [1, 10],
    arguments: { durability: "fsync", replicas: 3, faults: ["amnesia"] },
    plant: amnesiaUnnoticed,
  },
  {
    name: "gap-skipped",
    invariant: "order",
    description: "An instance is left out when a backlog is delivered that a catch-up has brought.",
    seeds: [1, 10],
    arguments: { replicas: 3, faults: ["partition", "pause", "crash"] },
    plant: gapSkipped,
  },
  {
    name: "reply-before-decision",
    invariant: "decided-is-durable",
    description: "A coordinator that was started again executes and answers a batch when it proposes it.",
    seeds: [1, 5],
    arguments: { replicas: 3, faults: ["crash"] },
    plant: replyBeforeDecision,
  },
  {
    name: "duplicate-executed",
    invariant: "linearizability",
    also: SEEN_BY_CLIENTS,
    description: "A block that is retransmitted after a while, as after a change of leader, executes a second time.",
    seeds: [1, 40],
    arguments: { service: "kv", replicas: 3, faults: ["crash", "isolate", "transfer", "loss"] },
    plant: duplicatesExecuted,
  },
  {
    name: "trim-hidden",
    invariant: "agreement",
    also: ["votes-are-told"],
    description: "Promises hide what their sender has delivered and trimmed, and a candidate fills it with no-ops.",
    seeds: [1, 80],
    arguments: { replicas: 5, faults: ["crash", "isolate", "partition"] },
    plant: trimHidden,
  },
  {
    name: "read-unconfirmed",
    invariant: "linearizability",
    also: SEEN_BY_CLIENTS,
    description: "A replica that believes to lead answers reads without asking a majority.",
    seeds: [31, 150],
    arguments: { service: "kv", replicas: 3, faults: ["pause", "reset"] },
    plant: readsUnconfirmed,
  },
  {
    name: "sync-claimed",
    invariant: "decided-is-durable",
    description: "The log of a replica that was started again confirms records that the disk has not made durable.",
    seeds: [1, 5],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash"] },
    plant: syncClaimed,
  },
  {
    name: "checkpoint-ahead",
    invariant: "digest",
    description: "A checkpoint claims to cover one instance more than it does.",
    seeds: [1, 20],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash", "crash-all"] },
    plant: checkpointAhead,
  },
  {
    name: "accepted-withheld",
    invariant: "agreement",
    also: ["votes-are-told"],
    description: "Promises leave out what their sender has accepted.",
    seeds: [1, 120],
    arguments: { replicas: 3, faults: ["crash", "isolate", "partition"] },
    plant: acceptedWithheld,
  },
  {
    name: "promise-cut-short",
    invariant: "agreement",
    description: "A candidate takes a promise for complete when its first part has come.",
    seeds: [1, 200],
    arguments: { replicas: 3, faults: ["crash", "isolate", "partition"] },
    plant: promiseCutShort,
  },
  {
    name: "vote-counted-twice",
    invariant: "decided-is-durable",
    description: "A vote that arrives twice counts as that of another replica.",
    seeds: [1, 120],
    arguments: { replicas: 3, durability: "fsync", faults: ["duplicate", "partition", "delay", "loss", "slow-disk"] },
    plant: votesCountedTwice,
  },
  {
    name: "read-unwaiting",
    invariant: "linearizability",
    also: SEEN_BY_CLIENTS,
    description: "A confirmed read does not wait for what was decided before it arrived.",
    seeds: [1, 60],
    arguments: { service: "kv", replicas: 3, faults: ["crash", "isolate", "transfer", "delay"] },
    plant: readsUnwaiting,
  },
  {
    name: "prologue-empty",
    invariant: "progress",
    also: ["clients-finish"],
    description:
      "The head of a log segment does not repeat promise and rejoin, which are lost with the segments before it.",
    seeds: [1, 120],
    arguments: { durability: "fsync", replicas: 3, faults: ["amnesia", "crash", "crash-all"] },
    plant: prologueEmpty,
  },
  {
    name: "rejoin-below-votes",
    invariant: "agreement",
    description:
      "A replica that answers a rejoin request keeps to itself how far it has voted and what it has promised.",
    seeds: [1, 200],
    arguments: { durability: "fsync", replicas: 3, faults: ["amnesia", "isolate", "loss", "delay"] },
    plant: rejoinBelowVotes,
  },
  {
    name: "last-record-cut",
    invariant: "agreement",
    also: ["votes-are-told"],
    description: "The last record of a log is taken for a torn one.",
    seeds: [1, 120],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash", "crash-all"] },
    plant: lastRecordCut,
  },
  {
    name: "damage-unnoticed",
    invariant: "agreement",
    description: "A log that has lost records says that it is whole.",
    seeds: [1, 120],
    arguments: { durability: "fsync", replicas: 3, faults: ["damage", "isolate", "crash"] },
    plant: damageUnnoticed,
  },
  {
    name: "holes-without-bound",
    invariant: "agreement",
    also: ["votes-are-told"],
    description: "A log with holes says that what it lacks can have been of no instance.",
    seeds: [46, 120],
    arguments: { durability: "fsync", replicas: 3, faults: ["bit-rot", "isolate", "crash"] },
    plant: holesUnbounded,
  },
  {
    name: "log-trimmed-too-far",
    invariant: "agreement",
    description: "The log drops every complete segment, whatever it was told to keep.",
    seeds: [1, 120],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash", "crash-all"] },
    plant: logTrimmedTooFar,
  },
  {
    name: "checkpoint-sees-later",
    invariant: "digest",
    description:
      "The store is marked for a checkpoint when its first slice is written, not when the checkpoint begins.",
    seeds: [1, 120],
    arguments: { service: "kv", durability: "fsync", replicas: 3, faults: ["crash", "crash-all"], connections: 3 },
    plant: checkpointSeesLater,
  },
  {
    name: "checkpoint-without-sessions",
    invariant: "digest",
    description: "A checkpoint holds the service, but not its sessions.",
    seeds: [1, 80],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash", "crash-all"] },
    plant: sessionsNotInCheckpoint,
  },
  {
    name: "restored-late",
    invariant: "digest",
    description: "Agreed time begins a millisecond late where a checkpoint is restored.",
    seeds: [1, 80],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash", "crash-all"] },
    plant: restoredLate,
  },
  {
    name: "transfer-ahead",
    invariant: "order",
    also: ["digest"],
    description: "A checkpoint that comes from a peer is said to cover one instance more than it does.",
    seeds: [1, 80],
    arguments: { durability: "fsync", replicas: 3, faults: ["amnesia", "partition"] },
    plant: transferAhead,
  },
  {
    name: "limits-forgotten",
    invariant: "digest",
    also: ["no-replica-gives-up"],
    description: "A replica that was started again remembers replies and sessions by other limits than the rest.",
    seeds: [1, 80],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash"] },
    plant: limitsForgotten,
  },
  {
    name: "wrong-reply-remembered",
    invariant: "linearizability",
    also: SEEN_BY_CLIENTS,
    description: "A retransmitted block is answered by the newest reply of its session.",
    seeds: [1, 120],
    arguments: { service: "kv", replicas: 3, faults: ["crash", "isolate", "transfer", "loss", "delay"] },
    plant: wrongReplyRemembered,
  },
  {
    name: "sweep-by-local-clock",
    invariant: "digest",
    description: "The sweep of expired values asks the local clock when that is ahead of agreed time.",
    seeds: [1, 40],
    arguments: { service: "kv", replicas: 3, faults: ["clock"] },
    plant: sweepByLocalClock,
  },
  {
    name: "reads-by-local-clock",
    invariant: "linearizability",
    also: SEEN_BY_CLIENTS,
    description: "Reads hide what has expired by the clock of the machine they execute on.",
    seeds: [1, 120],
    arguments: { service: "kv", replicas: 3, faults: ["clock", "transfer"] },
    plant: readsByLocalClock,
  },
  {
    name: "expiries-not-restored",
    invariant: "digest",
    description: "Values restored from a checkpoint never expire.",
    seeds: [1, 80],
    arguments: { service: "kv", durability: "fsync", replicas: 3, faults: ["crash"] },
    plant: expiriesNotRestored,
  },
  {
    name: "doubt-denied",
    invariant: "linearizability",
    also: SEEN_BY_CLIENTS,
    description: "A command that may have been applied is reported as one that certainly was not.",
    seeds: [1, 40],
    arguments: { service: "kv", replicas: 3, faults: ["isolate", "partition", "crash-all", "pause"] },
    plant: doubtDenied,
  },
  {
    name: "reads-overtake",
    invariant: "connection-order",
    also: SEEN_BY_CLIENTS,
    description: "After a change of leader, a gateway sends a read past an unanswered write of the same connection.",
    seeds: [1, 40],
    arguments: { service: "kv", replicas: 3, faults: ["delay", "isolate", "transfer"], connections: 3 },
    plant: readsOvertake,
  },
  {
    name: "blocks-overtake",
    invariant: "connection-order",
    also: SEEN_BY_CLIENTS,
    description:
      "After a change of leader, a gateway loses the order of blocks, and with it that of a connection's commands.",
    seeds: [1, 40],
    arguments: { service: "kv", replicas: 3, faults: ["delay", "isolate", "transfer"], connections: 3 },
    plant: blocksOvertake,
  },
  {
    name: "leads-once",
    invariant: "progress",
    description: "A replica that has led and been deposed never stands for election again. Nothing unsafe comes of it.",
    seeds: [1, 20],
    arguments: { replicas: 3, durability: "fsync", faults: ["isolate", "transfer", "pause"] },
    plant: leadsOnce,
  },
  {
    name: "trim-before-checkpoint",
    invariant: "agreement",
    also: ["votes-are-told"],
    description: "The log is dropped as soon as its instances are decided, without a checkpoint that covers them.",
    seeds: [1, 80],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash", "crash-all"] },
    plant: trimBeforeCheckpoint,
  },
];

/**
 * Every planted bug. The unmodified system passes the same seeds with the same arguments. A bug that says nothing of Redis
 * connections is looked for without: they cost time, and add nothing to it.
 */
export const bugs: readonly Bug[] = planted.map((bug) => ({ ...bug, arguments: { connections: 0, ...bug.arguments } }));
