/** Runs the storage suite over every sibling. */
import { runStorageSuite } from "./storage.suite.js";
import { fileWorld, memoryWorld, simWorld } from "./storage-worlds.js";

const forgets = "memory storage forgets with the process";

runStorageSuite({ name: "files, fsync", world: () => fileWorld(), skips: {} });
runStorageSuite({ name: "files, os", world: () => fileWorld("os"), skips: {} });
runStorageSuite({ name: "simulated disk, fsync", world: () => simWorld(), skips: {} });
runStorageSuite({ name: "simulated disk, os", world: () => simWorld(1, { durability: "os" }), skips: {} });
runStorageSuite({
  name: "memory",
  world: memoryWorld,
  skips: {
    "a closed log returns every record in order": forgets,
    "a killed process loses nothing that was confirmed, run after run": forgets,
    "the longest record and an empty one come back": forgets,
    "each new segment begins with the host's prologue": "memory storage has no segments",
    "trimming drops covered segments from the front and keeps the rest whole": "memory storage has no segments",
    "a reset log is empty, and usable": forgets,
    "a log that was opened and closed many times stays small and intact": forgets,
    "files of another cluster are refused": forgets,
    "the newest two checkpoints are kept":
      "the second one is for the case that the first is damaged, and costs a whole state",
    "a committed checkpoint survives, an unfinished one does not": forgets,
    "an identity survives": forgets,
  },
});
