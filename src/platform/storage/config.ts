import { assert, KiB, MiB } from "../../base/index.js";
import type { Durability } from "../../model/index.js";

/** Tuning of a write-ahead log. Nothing here has to agree between replicas, or between two runs of one. */
export interface WalConfig {
  /** Bytes of a segment file. A segment is left for the next one when it is seven eighths full. */
  readonly segmentBytes: number;
  /** After this many ms without a write, a seal confirms on disk what has been synced. */
  readonly sealAfterIdleMs: number;
  /** Trimmed segment files kept for reuse. */
  readonly spareFilesMax: number;
}

/** A record is at most this long; a longer one is a programmer error. */
export const recordBytesMax = 8 * MiB;
/**
 * Records collected while one write is under way take at most this many bytes. The host holds back long before, by
 * `pendingBytes()`; going beyond throws `CapacityError` out of the host's own write.
 */
export const groupBytesMax = 256 * MiB;
/** A chunk of a checkpoint is at most this long, so that a value of the greatest length fits; a longer one is a programmer error. */
export const chunkBytesMax = 16 * MiB;
/** While a checkpoint is written, it is synced whenever this many bytes have come together, so that the log's own syncs
 * never queue behind a whole checkpoint. */
export const checkpointSyncBytes = 4 * MiB;
/** A log that lacks more runs of batches than this counts as damaged as a whole. */
export const logGapsMax = 1024;
/** Complete checkpoints kept. */
export const checkpointsMax = 2;

export const walDefaults: WalConfig = Object.freeze({
  segmentBytes: 64 * MiB,
  sealAfterIdleMs: 50,
  spareFilesMax: 2,
});

/** What a storage is opened with, whatever it stores in. */
export interface StorageInit extends Partial<WalConfig> {
  /** 16 hexadecimal digits. Files of another cluster are refused. */
  readonly clusterId: string;
  /** `memory` keeps the identity alone; log and checkpoints are gone with the process. */
  readonly durability: Durability;
  /** Called for each stored checkpoint that is passed over because it is damaged or was never finished. */
  readonly onDamaged?: ((path: string, reason: string) => void) | undefined;
  /** Called after each write to the log that ended well, once a group: ms from its start until it was durable. */
  readonly onLogWritten?: ((durationMs: number) => void) | undefined;
}

/** Completes and checks a log's tuning. */
export function walConfig(options: Partial<WalConfig>): WalConfig {
  const config: WalConfig = {
    segmentBytes: options.segmentBytes ?? walDefaults.segmentBytes,
    sealAfterIdleMs: options.sealAfterIdleMs ?? walDefaults.sealAfterIdleMs,
    spareFilesMax: options.spareFilesMax ?? walDefaults.spareFilesMax,
  };
  assert(
    config.segmentBytes >= 4 * KiB && config.segmentBytes % 512 === 0,
    `segmentBytes is a multiple of 512, at least 4096, got ${config.segmentBytes}`,
  );
  assert(config.sealAfterIdleMs >= 0, `sealAfterIdleMs is at least 0, got ${config.sealAfterIdleMs}`);
  assert(config.spareFilesMax >= 0, `spareFilesMax is at least 0, got ${config.spareFilesMax}`);
  return Object.freeze(config);
}
