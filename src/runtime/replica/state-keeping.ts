import type { Batch, Instance, ProtocolView, QueueVisitor, ReplicaId } from "../../model/index.js";
import type { CheckpointInfo } from "../../platform/index.js";

/**
 * How a replica keeps its state: it restores and takes checkpoints, and fetches those of its peers. Siblings: `WholeState` for a
 * replica with one group, whose state is behind one instance; and that of a member of several groups, whose checkpoints are cuts
 * through all streams.
 */
export interface StateKeeping {
  /** Before anything runs: restores the newest checkpoint. `through` is the instance of this stream that it covers, 0 for none. */
  recover(done: (error: Error | null, through: Instance) => void): void;
  /** The host runs, and its protocol has taken what the log held. */
  started(): void;
  /** Instance of this stream that the newest durable checkpoint covers. */
  readonly through: Instance;
  /** The newest durable checkpoint. */
  readonly latest: CheckpointInfo | null;
  /** A state is being put in place of the present one: nothing executes meanwhile. */
  readonly installing: boolean;
  /** Bound of the log's memory: what is configured, or as much as the state takes. */
  readonly logBytesMax: number;
  /**
   * Bounds the log's memory anew, by what the state takes now. Of a state that has become smaller the log may be longer than
   * it should be from now on: then the bound follows it down, so that nothing has to wait.
   */
  boundLog(): number;
  /** How full the log may be for the coordinator to propose, 1 at most. */
  readonly logFillMax: number;
  /** A decided batch: it goes on to execution, or waits until a state is in place. */
  decided(instance: Instance, batch: Batch): void;
  /** Begins a checkpoint if one is due. Called at the end of each turn. */
  consider(): void;
  /** The protocol wants the state of a peer, through this instance of its stream at least. */
  fetch(from: ReplicaId, through: Instance): void;
  /** A frame between replicas that is no message of the protocol. False if it is malformed or unknown. */
  onFrame(from: ReplicaId, kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): boolean;
  onPeerGone(peer: ReplicaId): void;
  /** Gives up what has stalled. Called about twice a second. */
  onTick(): void;
  queues(visit: QueueVisitor): void;
  close(): void;
}

/** What the keeping of states asks of its host. */
export interface StateHost {
  view(): ProtocolView;
  now(): number;
  fatal(error: Error): void;
  /** There is something to do at the end of a turn: have one. */
  requestTurn(): void;
  /** A checkpoint of this replica's own is durable. */
  checkpointed(info: CheckpointInfo, through: Instance): void;
  /** The state of a peer is in place, or is no newer than what has executed here meanwhile; what was held back comes next. */
  replaced(info: CheckpointInfo, from: ReplicaId): void;
  /** And that has been given to execution. */
  installed(through: Instance): void;
  fetchFailed(from: ReplicaId): void;
  /** A client waits for a checkpoint through this instance at least, for a backup; 0 for none. */
  backupWanted(): Instance;
}
