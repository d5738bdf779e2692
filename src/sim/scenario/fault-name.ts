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
 * | partition | replicas fall apart into groups, wholly or in one direction; clients keep reaching all or some |
 * | isolate | the leader is cut off from the other replicas, but not from the clients |
 * | crash | a process is killed, or its machine loses power, at any moment; it comes back |
 * | crash-point | the same, at a named point inside a turn |
 * | crash-all | all machines lose power at once |
 * | pause | a process stands still for a while and goes on as if nothing had happened |
 * | amnesia | a replica comes back with an empty directory |
 * | damage | a bit of a stopped replica's log, or of its newest checkpoint, flips |
 * | slow-disk | a disk takes long to sync |
 * | disk-error | a sync or write fails once: the replica stops, and comes back on the same machine or after a reboot |
 * | stop | a replica is stopped gracefully, handing leadership over, and started again |
 * | transfer | an operator asks the leader to hand over |
 * | clock | a machine's wall clock is wrong, and jumps |
 * | client | a client dies with its commands under way, and another takes its place |
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
