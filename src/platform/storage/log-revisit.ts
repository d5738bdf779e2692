import { KiB } from "../../base/index.js";
import { type Instance, StorageError } from "../../model/index.js";
import {
  batchChecksumHolds,
  batchHeaderBytesMin,
  batchLengthAt,
  batchVersion,
  batchVersionAt,
  clusterIdAt,
  emptyStamp,
  paddedLength,
  readStamp,
  recordsAt,
} from "./batch-format.js";
import { type FileSystem, type StoredFile, storageError } from "./file-system.js";

/** A region of a segment takes in batches until it has so many bytes. */
const regionBytes = 256 * KiB;

/** Consecutive batches of one segment file, and the instances of their records. */
interface Region {
  readonly start: number;
  end: number;
  instanceMin: Instance;
  instanceMax: Instance;
}

/**
 * Where in a segment the records of which instances are: a few dozen bytes of memory for each 256 KiB of log. Instances come
 * nearly in order, so that the records of a range of them are in few regions.
 */
export class SegmentIndex {
  readonly generation: number;
  readonly path: string;
  readonly regions: Region[] = [];

  constructor(generation: number, path: string) {
    this.generation = generation;
    this.path = path;
  }

  /** Notes a batch that is durable: its place, and the lowest and highest instance of its records, Infinity and 0 for none. */
  note(start: number, end: number, instanceMin: Instance, instanceMax: Instance): void {
    const last = this.regions[this.regions.length - 1];
    if (last === undefined || last.end !== start || last.end - last.start >= regionBytes) {
      this.regions.push({ start, end, instanceMin, instanceMax });
      return;
    }
    last.end = end;
    if (instanceMin < last.instanceMin) last.instanceMin = instanceMin;
    if (instanceMax > last.instanceMax) last.instanceMax = instanceMax;
  }
}

type Visit = (bytes: Uint8Array, view: DataView, start: number, end: number) => void;

interface Place {
  readonly index: SegmentIndex;
  readonly region: Region;
}

/**
 * Shows the durable records of instances `from` to `through`, and some of others beside them, in the order they were written.
 * Reads as many bytes at a time as a region has. A segment that is dropped and used again meanwhile ends it with an error, as
 * does damage: nothing of another place or time passes for a record.
 */
export function revisitLog(
  fs: FileSystem,
  clusterId: string,
  segments: readonly SegmentIndex[],
  from: Instance,
  through: Instance,
  visit: Visit,
  done: (error: Error | null) => void,
): void {
  const places: Place[] = [];
  for (const index of segments) {
    for (const region of index.regions) {
      // What is added to the region later is of no concern.
      if (region.instanceMax >= from && region.instanceMin <= through) places.push({ index, region: { ...region } });
    }
  }
  let open: { readonly index: SegmentIndex; readonly file: StoredFile } | null = null;
  const close = (then: () => void): void => {
    const file = open?.file;
    open = null;
    if (file === undefined) then();
    else file.close(then);
  };
  const next = (at: number): void => {
    const place = places[at];
    if (place === undefined) return close(() => done(null));
    const { index, region } = place;
    const fail = (error: Error): void => close(() => done(storageError(`cannot read ${index.path}`, error)));
    if (open?.index !== index) {
      return close(() =>
        fs.open(index.path, "read", (error, file) => {
          if (error !== null || file === null) return fail(error ?? new Error("no file"));
          open = { index, file };
          next(at);
        }),
      );
    }
    const bytes = new Uint8Array(region.end - region.start);
    open.file.read(bytes, 0, bytes.length, region.start, (error, count) => {
      if (error !== null) return fail(error);
      if (count < bytes.length) return fail(new StorageError("it is shorter than it was", false));
      const damage = showRegion(bytes, clusterId, index, region, visit);
      if (damage !== null) return fail(new StorageError(damage, false));
      next(at + 1);
    });
  };
  next(0);
}

/** Shows the records of a region; what is wrong with it, or null. */
function showRegion(
  bytes: Uint8Array,
  clusterId: string,
  { generation }: SegmentIndex,
  { start }: Region,
  visit: Visit,
): string | null {
  const view = new DataView(bytes.buffer);
  const stamp = emptyStamp();
  let at = 0;
  while (at < bytes.length) {
    const left = bytes.length - at;
    const length = left < batchHeaderBytesMin ? 0 : batchLengthAt(view, at, generation, left);
    const whole = length > 0 && batchChecksumHolds(bytes, view, at, length);
    if (!whole || batchVersionAt(view, at) > batchVersion || clusterIdAt(bytes, at + 24) !== clusterId) {
      return `no batch stands at ${start + at}`;
    }
    readStamp(view, at, stamp);
    const inPlace = stamp.place === start + at || stamp.place < 0;
    if (stamp.generation !== generation || !inPlace) return `another batch stands at ${start + at}`;
    let from = at + recordsAt(batchVersionAt(view, at));
    for (let record = 0; record < stamp.records; record++) {
      const first = from + 4;
      const end = first <= at + length ? first + view.getUint32(from, true) : Infinity;
      if (end > at + length) return `the batch at ${start + at} contradicts its own lengths`;
      visit(bytes, view, first, end);
      from = end;
    }
    at += paddedLength(length);
  }
  return null;
}
