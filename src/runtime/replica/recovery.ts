import type { BatchArena, ClusterConfig, Instance, ProtocolCodec, ReplicaId, SnapshotSink } from "../../model/index.js";
import { clusterShape, ConfigError } from "../../model/index.js";
import type { CheckpointStore, Identity, LogCondition, LogGap, ReplicaPlatform } from "../../platform/index.js";
import type { StateKeeping } from "./state-keeping.js";

export interface RecoveryInit {
  readonly self: ReplicaId;
  readonly config: ClusterConfig;
  readonly platform: ReplicaPlatform;
  readonly codec: ProtocolCodec<unknown, unknown>;
  readonly arena: BatchArena;
  /** Of a replica with several groups: which of its members this is. */
  readonly member?: number;
  /** Restores the newest checkpoint, see `StateKeeping.recover`. */
  readonly state: Pick<StateKeeping, "recover">;
}

export interface Recovery {
  readonly identity: Identity;
  /** Instance that the newest checkpoint covers, 0 without one. */
  readonly through: Instance;
  /** Records of the log in order; empty for a replica that can't trust them. */
  readonly records: readonly unknown[];
}

/**
 * What a replica does before it takes part: state from the newest checkpoint, records from the log, and the decision
 * whether it remembers every promise and vote it gave (DESIGN safety rule 1). It does not when its identity is missing or
 * damaged, when it ran with memory durability, when it ran with `os` durability under another boot of the machine, or when
 * its log is gone, ends before what it held when the replica last started, or is damaged at or before a position known
 * synced, unless it is known what the
 * damaged records can have been (`LogCondition` "holed"): then only votes for these instances are forgotten, which the protocol
 * is told of in their place. Of a replica without memory a fresh nonce is stored first, so that a second crash on the way does
 * not make it forget that it forgot.
 */
export function recover(init: RecoveryInit, done: (error: Error | null, recovery: Recovery) => void): void {
  const { identity: store, log } = init.platform;
  const shape = clusterShape(init.config, init.member);
  const fail = (error: Error): void => done(error, null as never);
  store.load((identityError, loaded) => {
    if (identityError !== null) return fail(identityError);
    const found = loaded === "damaged" ? null : loaded;
    if (found !== null) {
      if (found.clusterId !== init.config.clusterId || found.replica !== init.self) {
        return fail(
          new ConfigError(
            `the directory belongs to replica ${found.replica} of cluster ${found.clusterId}, ` +
              `not to replica ${init.self} of cluster ${init.config.clusterId}`,
          ),
        );
      }
      if (found.shape !== undefined && found.shape !== shape) {
        return fail(
          new ConfigError(
            `replica ${init.self} was made for a cluster with ${found.shape}; cluster.json says ${shape}: ` +
              "none of this can change once a cluster exists",
          ),
        );
      }
    }
    init.state.recover((stateError, through) => {
      if (stateError !== null) return fail(stateError);
      const records: unknown[] = [];
      let malformed = false;
      log.recover(
        (bytes, view, start, end) => {
          const record = init.codec.decodeRecord(bytes, view, start, end, init.arena, through);
          if (record === null) {
            malformed = true;
            return;
          }
          records.push(record);
          return init.codec.recordInstance(record);
        },
        (logError, judged, extent = 0, gaps = []) => {
          if (logError !== null) return fail(logError);
          const repairable = judged !== "holed" || (init.codec.lost !== undefined && gaps.length > 0);
          const condition = malformed || !repairable ? "damaged" : judged;
          const reason =
            loaded === "damaged" ? "its identity file is damaged" : amnesia(init, found, condition, extent);
          const identity: Identity = {
            format: 1,
            clusterId: init.config.clusterId,
            replica: init.self,
            durability: init.config.durability,
            bootId: store.bootId(),
            started: true,
            amnesiaNonce: reason === null ? (found?.amnesiaNonce ?? 0) : init.platform.nonce(),
            // A log that is about to be discarded begins anew.
            logExtent: reason === null ? extent : 0,
            shape,
          };
          const saved = (saveError: Error | null): void => {
            if (saveError !== null) return fail(saveError);
            if (reason === null) {
              if (condition === "holed") {
                const lost = gaps.reduce((most, gap) => Math.max(most, gap.through), 0);
                init.platform.events.warn("damaged records are replaced by those of the others", {
                  gaps: gaps.length,
                  through: lost,
                });
              }
              return done(null, { identity, through, records: withLost(records, gaps, init.codec) });
            }
            init.platform.events.warn("this replica may have forgotten votes; it rejoins as a non-voter", { reason });
            // Facts from a log with holes can't be told from facts that later ones overrode: none is used. The nonce is
            // durable before the log is gone.
            for (const record of records) init.codec.forget(record, init.arena);
            log.reset((resetError) => {
              if (resetError !== null) return fail(resetError);
              done(null, { identity, through, records: [] });
            });
          };
          // A replica that has started has a log: it is there before the identity says so. One that died while it made its
          // first has the half of it, in which nothing can have been.
          if (reason === null && (condition === "missing" || condition === "damaged")) {
            log.reset((error) => (error === null ? store.save(identity, saved) : fail(error)));
          } else store.save(identity, saved);
        },
      );
    });
  });
}

/** The records, with one that stands for what is lost in each place where some are. */
function withLost(
  records: readonly unknown[],
  gaps: readonly LogGap[],
  codec: ProtocolCodec<unknown, unknown>,
): readonly unknown[] {
  const all: unknown[] = [];
  let taken = 0;
  for (const { behind, through } of gaps) {
    while (taken < behind) all.push(records[taken++]);
    all.push(codec.lost?.(through));
  }
  while (taken < records.length) all.push(records[taken++]);
  return all;
}

/** Why the replica may have forgotten promises or votes, or null. */
function amnesia(init: RecoveryInit, found: Identity | null, condition: LogCondition, extent: number): string | null {
  if (found === null) return "its directory is new to an existing cluster";
  if (!found.started) return null;
  // What counts is how it ran, which the identity records; memory durability now finds nothing of an earlier run either.
  if (found.durability === "memory" || init.config.durability === "memory") return "it ran with memory durability";
  if (found.durability === "os" && found.bootId !== init.platform.identity.bootId()) {
    return "the machine was booted since it ran with os durability";
  }
  if (condition === "missing") return "its log is gone";
  if (extent < (found.logExtent ?? 0)) return "its log ends before what it held when the replica last started";
  if (condition === "damaged") return "its log is damaged before a position that was synced";
  return null;
}

/**
 * Reads a checkpoint into `sink` to its end. Where `gone` says that nobody wants it any more the reader is closed, and nothing
 * is called back.
 */
export function restoreCheckpoint(
  store: CheckpointStore,
  through: Instance,
  sink: SnapshotSink,
  done: (error: Error | null) => void,
  gone: () => boolean = () => false,
): void {
  const reader = store.read(through);
  const next = (): void =>
    reader.next((error, chunk) => {
      if (gone()) return reader.close();
      if (error !== null) {
        reader.close();
        return done(error);
      }
      try {
        if (chunk === null) sink.finish();
        else sink.write(chunk, 0, chunk.length);
      } catch (damage) {
        reader.close();
        return done(damage as Error);
      }
      if (chunk !== null) return next();
      reader.close();
      done(null);
    });
  next();
}
