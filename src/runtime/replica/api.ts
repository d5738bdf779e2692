import type {
  Ballot,
  ClusterConfig,
  ExecutionModel,
  Instance,
  ProtocolModule,
  QueueVisitor,
  ReplicaId,
  Role,
  Service,
  TraceCode,
} from "../../model/index.js";
import type { ReplicatedStateOptions } from "../../execution/index.js";
import type { ReplicaPlatform } from "../../platform/index.js";
import type { ReplicaMetrics } from "./metrics.js";

export interface ReplicaInit {
  readonly self: ReplicaId;
  readonly config: ClusterConfig;
  readonly platform: ReplicaPlatform;
  readonly options?: Partial<ReplicaOptions>;
  /** The replica can't go on (storage failure, broken invariant): the host process stops. */
  onFatal(error: Error): void;
  /** Recovered, or rejoined as a voter: the replica takes part. */
  onRecovered?(): void;
  /** The replica believed to lead changed; 0: none is known. */
  onLeader?(leader: ReplicaId): void;
  /** The typed trace stream, for checkers, metrics and experiments. */
  onTrace?(code: TraceCode, a: number, b: number, c: number): void;
  /** Where the replica counts what it does; by default nowhere. */
  readonly metrics?: ReplicaMetrics;
  /** Hash every decided batch for the trace stream; costs about 1 ns a byte. Default false. */
  readonly traceValues?: boolean;
  /** Siblings to run instead of those the registry has under the names in `config`: planted faults, experiments. */
  readonly siblings?: Partial<ReplicaSiblings>;
}

/** The interchangeable parts of a replica. */
export interface ReplicaSiblings {
  readonly ordering: ProtocolModule<unknown, unknown, unknown>;
  /** The limits are part of the state machine: the same on all replicas for the life of the cluster. By default the model's. */
  createExecution(service: Service, limits?: Partial<ReplicatedStateOptions>): ExecutionModel;
  createService(): Service;
}

/** Knobs of a replica's process; nothing here has to agree between replicas. */
export interface ReplicaOptions {
  /** Seed of election jitter. */
  readonly seed: number;
  readonly heartbeatMs: number;
  /** An election timeout is this plus up to `electionJitterMs`. */
  readonly electionTimeoutMs: number;
  readonly electionJitterMs: number;
  /** Open instances at most (the execution model may ask for fewer). */
  readonly windowInstancesMax: number;
  readonly windowBytesMax: number;
  /** Bytes of one proposed batch at most. */
  readonly batchBytesMax: number;
  /** Blocks that wait to be proposed: beyond this the client links are paused. */
  readonly ingressBytesMax: number;
  /** A checkpoint is taken when the log has grown by this many bytes or instances since the last. */
  readonly checkpointBytes: number;
  readonly checkpointInstances: number;
  /**
   * Bytes of log at most; beyond it the coordinator opens nothing and acceptors vote for nothing. A state that is larger raises it
   * to its own bytes, up to `largeLogBytesMax`: else each checkpoint would write the whole state to free a log that is a
   * fraction of it.
   */
  readonly logBytesMax: number;
  readonly largeLogBytesMax: number;
  /**
   * Bytes of it in memory: beyond, what is decided and executed is on disk alone. Not a bound for what is under way, nor with
   * `memory` durability, where there is no disk.
   */
  readonly logMemoryBytesMax: number;
  /** Memory for batches is taken in pieces of this many bytes. */
  readonly arenaChunkBytes: number;
  /** Bytes of one slice of a checkpoint, eight times as many while the log is more than half full. */
  readonly checkpointSliceBytes: number;
  /**
   * Digests of the states are compared every so many ordered commands, and 4 times a second where there are fewer; 0 compares
   * nothing. Counted by each replica for itself, but of use only if it is the same on all. Replicas of processes have 1000.
   */
  readonly compareCommands: number;
}

/** What a thread of opt-PSMR has counted since it began, in commands. */
export interface OptimisticCounts {
  /** Failed their safety check in parallel mode, or went along with one of their session that had. */
  readonly failed: number;
  /** Executed in parallel mode. */
  readonly passed: number;
  /** Executed at a barrier, having failed before, by this thread. */
  readonly conservative: number;
}

export interface ReplicaStatus {
  readonly id: ReplicaId;
  readonly role: Role;
  readonly ballot: Ballot;
  readonly leader: ReplicaId;
  readonly decided: Instance;
  readonly executed: Instance;
  readonly trimmed: Instance;
  readonly checkpoint: Instance;
  /** Bytes of the newest durable checkpoint. */
  readonly checkpointBytes: number;
  readonly commands: number;
  readonly sessions: number;
  readonly entries: number;
  readonly stateBytes: number;
  /** Log above the last trim, in memory or on disk alone. */
  readonly logBytes: number;
  /** Memory that batches of the log take. */
  readonly logMemoryBytes: number;
  /** Absent where commands can't fail. */
  readonly optimistic?: OptimisticCounts;
  /** Replicas whose state differs from that of a majority, or, where there is none, from this one's. */
  readonly differing: readonly ReplicaId[];
}

/**
 * The client-port protocol of a replica, besides blocks (see FrameKind): a `status` frame holds JSON
 * `{"want":"status"}` → `statusReply` with a ReplicaStatus, or `{"want":"digest","nonce":"16 bytes hex"}` → a replica
 * orders a digest command with that nonce (any replica; it forwards nothing: only the leader can) and
 * `{"want":"digestOf","nonce":…}` → `{"position":P|null,"hex":…|null}` from any replica. An `admin` frame holds
 * `{"do":"transfer"}`.
 */
export interface Replica {
  start(): void;
  status(): ReplicaStatus;
  /**
   * Every queue of the replica, its cores and its links that could grow, with its declared maximum; what happens when one is
   * full is in docs/limits.md. For checks: looks at all sessions.
   */
  queues(visit: QueueVisitor): void;
  /** Hands leadership over if it leads, closes ports and log, then calls back. */
  stop(done: () => void): void;
}
