/**
 * The layer table: for each folder of src/, the folders it may import. Imports point only downward, and folders of one
 * layer do not know each other, with one exception: multicast merges the streams that ordering defines.
 */

const kernel = ["base", "model"];
const cores = [...kernel, "ordering", "execution", "service", "client", "multicast"];
const hosts = [...cores, "platform", "runtime"];
const doors = [...hosts, "gateway", "sim"];

export const below: ReadonlyMap<string, readonly string[]> = new Map([
  ["base", []],
  ["model", ["base"]],
  ["ordering", kernel],
  ["execution", kernel],
  ["service", kernel],
  ["client", kernel],
  ["multicast", [...kernel, "ordering"]],
  ["platform", kernel],
  ["runtime", [...cores, "platform"]],
  ["gateway", hosts],
  ["sim", [...hosts, "gateway"]],
  ["lab", doors],
  ["synod", doors],
  // The command `synod lab` runs the experiments, so the lab lies below the command line.
  ["cli", [...doors, "lab"]],
]);

/** The folders that hold pure state machines: no clock, no randomness, no IO, nothing that differs between engines. */
export const pure: ReadonlySet<string> = new Set(cores);

/** The folders whose sub-folders are interchangeable siblings, each behind its own door, which never import each other. */
export const families: ReadonlySet<string> = new Set(["ordering", "execution", "service", "client", "multicast"]);

/** What the siblings of a family share. Each has a name of its own, and siblings may import it through its door. */
export const shared: ReadonlySet<string> = new Set([
  "ordering/quorum",
  "ordering/instance-log",
  "execution/conflict-graph",
  "execution/barrier",
  "execution/replicated-state",
  // The threads of opt-PSMR are those of P-SMR with another mapping.
  "execution/psmr",
  "multicast/merge",
  "service/command",
  "service/byte-store",
  "service/tree",
]);

/** Sub-folders that may be entered through their own door, because who enters must not load what lies beside them. */
export const entrances: ReadonlySet<string> = new Set(["gateway/admin"]);

/** The one file below the lab that names siblings; everything else reaches them through it or through a family's door. */
export const registry = "src/runtime/registry.ts";
/** Folders that may name a sibling directly, because comparing siblings is what they are for. */
export const comparers: ReadonlySet<string> = new Set(["lab"]);
