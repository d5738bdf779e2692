import type { SimArguments } from "../scenario/index.js";
import type { Disguise } from "../world/index.js";
import { duplicatesExecuted } from "./execution-bugs.js";
import {
  amnesiaUnnoticed,
  gapSkipped,
  promisesForgotten,
  readsUnconfirmed,
  replyBeforeDecision,
  trimBeforeCheckpoint,
  trimHidden,
  votesBeforePersist,
} from "./ordering-bugs.js";
import { checkpointAhead, syncClaimed } from "./platform-bugs.js";

/** A mistake that is planted to see whether the simulator finds it. */
export interface Bug {
  readonly name: string;
  /** What the mistake breaks, as the violation names it. */
  readonly invariant: string;
  /** What is wrong, in a sentence. */
  readonly description: string;
  /** Seeds to run, both inclusive; one of them finds it. */
  readonly seeds: readonly [number, number];
  readonly arguments: Omit<SimArguments, "seed">;
  readonly plant: () => Disguise;
}

/** Every planted bug. The unmodified system passes the same seeds with the same arguments. */
export const bugs: readonly Bug[] = [
  {
    name: "vote-before-persist",
    invariant: "decided-is-durable",
    description: "Promises and votes leave before they are durable.",
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
    description: "An instance is left out when a backlog is delivered.",
    seeds: [1, 10],
    arguments: { replicas: 3, faults: ["partition", "pause", "crash"] },
    plant: gapSkipped,
  },
  {
    name: "reply-before-decision",
    invariant: "decided-is-durable",
    description: "The coordinator executes and answers a batch when it proposes it.",
    seeds: [1, 5],
    arguments: { replicas: 3, faults: ["crash"] },
    plant: replyBeforeDecision,
  },
  {
    name: "duplicate-executed",
    invariant: "linearizability",
    description: "A block that is retransmitted after a change of leader executes a second time.",
    seeds: [1, 40],
    arguments: { service: "kv", replicas: 3, faults: ["crash", "isolate", "transfer", "loss"] },
    plant: duplicatesExecuted,
  },
  {
    name: "trim-hidden",
    invariant: "agreement",
    description: "Promises hide what their sender has delivered and trimmed, and a candidate fills it with no-ops.",
    seeds: [1, 60],
    arguments: { replicas: 5, faults: ["crash", "isolate", "partition"] },
    plant: trimHidden,
  },
  {
    name: "read-unconfirmed",
    invariant: "linearizability",
    description: "A replica that believes to lead answers reads without asking a majority.",
    seeds: [1, 120],
    arguments: { service: "kv", replicas: 3, faults: ["pause", "reset"] },
    plant: readsUnconfirmed,
  },
  {
    name: "sync-claimed",
    invariant: "decided-is-durable",
    description: "The log confirms records that the disk has not made durable.",
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
    name: "trim-before-checkpoint",
    invariant: "agreement",
    description: "The log is dropped as soon as its instances are decided, without a checkpoint that covers them.",
    seeds: [1, 40],
    arguments: { durability: "fsync", replicas: 3, faults: ["crash", "crash-all"] },
    plant: trimBeforeCheckpoint,
  },
];
