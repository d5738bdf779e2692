import { ConfigError } from "../../model/index.js";

/**
 * Everything that can go wrong in a simulated world. Those of the network's nature hold for the whole safety phase at a
 * rate of their own; the others strike as events.
 *
 * | name | what happens |
 * |---|---|
 * | loss | messages are lost (datagrams) or come late by a retransmission (streams) |
 * | delay | some messages take much longer |
 * | duplicate | messages arrive twice; connections are datagrams |
 * | reorder | messages overtake each other; connections are datagrams |
 * | reset | a connection breaks and what was under way on it is gone |
 * | partition | replicas fall apart into two groups; clients keep reaching all or some |
 * | one-way | the same in one direction only, or one replica no longer hears one other |
 * | partial | two replicas don't reach each other, and every other reaches both |
 * | clog | links take what is sent and deliver nothing for a while, and then everything |
 * | isolate | the leader is cut off from the other replicas, but not from the clients |
 * | crash | a process is killed, or its machine loses power, at any moment; it comes back |
 * | crash-point | the same, at a named point inside a turn |
 * | crash-all | all machines lose power at once |
 * | pause | a replica stands still for 0.1 to 30 s and goes on as if nothing had happened |
 * | amnesia | a replica comes back with an empty directory |
 * | damage | a bit of a stopped replica's log, or of its newest checkpoint, flips |
 * | slow-disk | a disk takes long to sync, or to do anything at all |
 * | disk-error | a sync or write fails once: the replica stops, and comes back on the same machine or after a reboot |
 * | stop | a replica is stopped gracefully, handing leadership over, and started again |
 * | transfer | an operator asks the leader to hand over |
 * | clock | wall clocks of machines are wrong, and jump |
 * | drift | wall clocks of machines run fast or slow |
 * | client | a client, or the gateway of Redis connections, dies with its commands under way, and another takes its place |
 * | bit-rot | bits of old records in a running replica's log flip; its process ends some time later |
 * | misdirect | a write of a running replica's log lands on an older record, in its own segment or another |
 * | misread | a replica that starts again is given a flipped bit by one of its reads; the disk holds the right one |
 * | full-disk | a disk is full for a while: the replica stops, and comes back, in vain until there is room |
 * | lose-log | a replica comes back without its log directory |
 * | damage-identity | a bit of the identity of a replica that is down flips |
 * | expire | a client stands still with its commands under way for longer than its session lives |
 * | thread | with several groups, one thread of a replica stands still for 0.1 to 30 s while the others go on |
 */
export const faultNames = [
  "loss",
  "delay",
  "duplicate",
  "reorder",
  "reset",
  "partition",
  "isolate",
  "crash",
  "crash-point",
  "crash-all",
  "pause",
  "amnesia",
  "damage",
  "slow-disk",
  "disk-error",
  "stop",
  "transfer",
  "clock",
  "client",
  // New names come last: what a seed draws for those before them stays as it is.
  "one-way",
  "partial",
  "clog",
  "drift",
  "expire",
  "bit-rot",
  "misdirect",
  "misread",
  "full-disk",
  "lose-log",
  "damage-identity",
  "thread",
] as const;
export type FaultName = (typeof faultNames)[number];

/** Reads `all`, `none` or names separated by commas. Throws `ConfigError` for a name there is not. */
export function parseFaults(list: string): readonly FaultName[] {
  if (list === "all") return faultNames;
  if (list === "none" || list === "") return [];
  return list.split(",").map((name) => {
    const found = faultNames.find((known) => known === name.trim());
    if (found === undefined) throw new ConfigError(`there is no fault "${name}"; there is ${faultNames.join(", ")}`);
    return found;
  });
}
