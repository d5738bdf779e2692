import { emptyRun } from "../../model/index.js";
import { Btree } from "../../service/index.js";
import { type Encoded, isDependent, type Mapping, serviceOptions, type Workload } from "./workload.js";

/** Where barriers stand: one for each run of dependent commands that a batch brings, or one for each such command. */
export type BarrierKind = "run" | "command";

/**
 * How a workload becomes streams: who takes each command and where batches end.
 *
 * Commands come in windows, as they do from clients with so many outstanding: the commands of a window that concern one group
 * are a batch of that group, those that concern several a batch of g_all. Threads deliver the batches of a window in the order
 * g_i, g_all: these are the recorded positions of the merge.
 */
export interface Plan {
  readonly workload: Workload;
  readonly threads: number;
  readonly mapping: Mapping;
  readonly mapped: Mapped;
  readonly windows: number;
  readonly windowCommands: number;
  /** For each command the thread that executes it, `EVERYBODY` if it concerns several. With one thread all are that one's. */
  readonly owner: Uint8Array;
}

export const EVERYBODY = 255;
const RUN_COMMANDS = 4096;

/**
 * How commands are mapped: with the service's own C-G (`conservative`), or with its OC-G. With one thread no command concerns
 * several groups; `apart` puts the dependent ones into g_all nevertheless, which shows what barriers cost beside that others are
 * waited for.
 */
export type Mapped = "conservative" | "apart" | "optimistic";

/** Maps a workload and cuts it into windows. */
export function planStreams(
  workload: Workload,
  encoded: Encoded,
  threads: number,
  mapping: Mapping,
  windowCommands: number,
  mapped: Mapped = "conservative",
): Plan {
  const { keys, space } = workload.options;
  const service = new Btree(serviceOptions(keys, threads, mapping, space));
  const apart = mapped === "apart";
  const owner = new Uint8Array(workload.operations.length);
  const run = emptyRun();
  run.bytes = encoded.bytes;
  run.view = encoded.view;
  const masks = new Uint32Array(RUN_COMMANDS);
  for (let first = 0; first < owner.length; first += RUN_COMMANDS) {
    run.count = Math.min(RUN_COMMANDS, owner.length - first);
    run.offsets = encoded.offsets.subarray(first, first + run.count);
    service.groups(run, mapped === "optimistic" ? 1 : 0, masks);
    for (let i = 0; i < run.count; i++) {
      const mask = masks[i] as number;
      const single = (mask & (mask - 1)) === 0 && !(apart && isDependent(workload.operations[first + i] as number));
      owner[first + i] = single ? 31 - Math.clz32(mask) : EVERYBODY;
    }
  }
  const windows = Math.ceil(owner.length / windowCommands);
  return { workload, threads, mapping, mapped, windows, windowCommands, owner };
}

/** Share of its commands that the busiest thread executes, of those that concern one group. */
export function busiestShare({ owner, threads }: Plan): number {
  const counts = new Float64Array(threads);
  let total = 0;
  for (const thread of owner) {
    if (thread === EVERYBODY) continue;
    counts[thread] = (counts[thread] as number) + 1;
    total++;
  }
  return total === 0 ? 1 / threads : Math.max(...counts) / total;
}

/** Share of a run that is dropped at its beginning and again at its end, as in the papers (5 s of 60 s). */
export const DROPPED_SHARE = 1 / 12;

/** Windows `[first, last)` of a run that count. A run of few windows counts as a whole. */
export function countedWindows(windows: number): [first: number, last: number] {
  const dropped = windows < 12 ? 0 : Math.round(windows * DROPPED_SHARE);
  return [dropped, windows - dropped];
}

/** Commands of these windows. */
export function commandsBetween({ owner, windowCommands }: Plan, first: number, last: number): number {
  return Math.min(last * windowCommands, owner.length) - first * windowCommands;
}
