import { faultNames, type SimArguments } from "#src/sim/index.js";

/**
 * Seeds that once found a fault in the product, or in the world and the checkers that judge it. A seed means another world as soon as anything draws one number more, so
 * each entry says what it was, and the ones that can be told in a few messages have a scenario of their own in
 * `multi-paxos-regression.test.ts`.
 */
export interface Regression extends SimArguments {
  readonly was: string;
}

const optimism = { execution: "opt-psmr", service: "btree" } as const;
const MISTAKEN_COPY = "the checker mistook which of two copies in one instance was executed";

export const regressions: readonly Regression[] = [
  { seed: 17, was: "a learner that missed values and had no peer up asked to be woken at once, for ever" },
  { seed: 19, was: "state transfer gave the store a chunk while it was writing the one before" },
  { seed: 42, was: "state transfer committed a checkpoint while its last chunk was being written" },
  { seed: 70, was: "an empty last slice of a checkpoint was written as a chunk; the memory store objects" },
  { seed: 70, was: "a value known to be decided and only accepted by those left was never proposed again" },
  { seed: 85, was: "refused catch-up requests were passed between replicas without a pause" },
  { seed: 746, was: "every duplicate of a catch-up answer started another catch-up" },
  { seed: 351, was: "a log filled by what stands above a gap never asked for what would close it" },
  { seed: 1409, was: "a leader whose quorum had fetched a state from beyond its promise proposed there for ever" },
  { seed: 1964, was: "the record of a rejoin was lost with the segment it was written to" },
  { seed: 20179, was: "a leader that installed a state announced no new trim point, for which a full follower waited" },
  { seed: 21171, was: "what was decided during an install was traced a second time after it" },
  {
    seed: 25,
    was: "who served a state to a peer that lost its chunks took no checkpoint while its log filled with instances",
  },
  {
    seed: 56,
    was: "values of an older ballot filled the logs of a majority, which for want of room refused them from the next",
  },
  {
    seed: 20103,
    was: "a replica that lost power while it made its first log found, when it had lost power again, that it had discarded one",
  },
  {
    seed: 100172,
    was: "the witness of votes missed a rejoin whose record was durable when its process died, and which the next one read",
  },
  {
    seed: 101568,
    was: "a disk that had room again by the time its refusal was heard counted as one that fails unbidden",
  },
  { seed: 106143, was: "a workload's read of all keys was judged by the names that its keys had when the answer came" },
  { seed: 107159, was: "a replica that was struck before its first start was started twice" },
  {
    seed: 400205,
    faults: faultNames,
    was: "a damaged checkpoint that a misread made whole for once stopped a replica",
  },
  {
    seed: 400366,
    faults: faultNames,
    was: "a sync that failed while a replica was closing its log left one more than f replicas without their memory",
  },
  {
    seed: 401036,
    faults: faultNames,
    was: "a damaged identity that was misread as one of a newer format stopped a replica for good",
  },
  { seed: 250097, was: "a disk that failed twice, once unheard as a process ended, counted as failing unbidden" },
  { seed: 431811, faults: faultNames, was: "an identity damaged in two places passed for one of a newer format" },
  ...[310371, 310380].map((seed) => ({ seed, ...optimism, groups: 2, was: MISTAKEN_COPY })),
  { seed: 320175, ...optimism, groups: 3, was: MISTAKEN_COPY },
  {
    seed: 600282,
    execution: "psmr",
    service: "btree",
    groups: 2,
    was: "an empty instance for a replica that rejoined was taken for a skip under way, which was proposed again: an hour too many",
  },
  {
    seed: 600787,
    execution: "psmr",
    service: "kv",
    groups: 2,
    was: "a cut waited for a thread at a barrier, that for a mark, that for room in a log that barriers had filled, and that for the cut",
  },
];
