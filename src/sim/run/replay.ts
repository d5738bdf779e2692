import type { SimArguments } from "../scenario/index.js";

/** The one command that runs this seed again, as it was. `program` is how it is started: by default as in a checkout. */
export function replayCommand(wanted: SimArguments, bug: string | null = null, program = "bin/synod"): string {
  const { seed, ordering, execution, service, durability, replicas, faults, groups, merge, barrier, resubmit } = wanted;
  const words = [program, "sim", "--seed", String(seed)];
  if (bug !== null) words.push("--bug", bug);
  // A bug brings its own arguments.
  else {
    if (ordering !== undefined) words.push("--ordering", ordering);
    if (execution !== undefined) words.push("--execution", execution);
    if (service !== undefined) words.push("--service", service);
    if (durability !== undefined) words.push("--durability", durability);
    if (replicas !== undefined) words.push("--replicas", String(replicas));
    if (groups !== undefined) words.push("--groups", String(groups));
    if (merge !== undefined) words.push("--merge", merge);
    if (barrier !== undefined) words.push("--barrier", barrier);
    if (resubmit !== undefined) words.push("--resubmit", resubmit);
    if (faults !== undefined) words.push("--faults", faults.length === 0 ? "none" : faults.join(","));
  }
  return words.join(" ");
}
