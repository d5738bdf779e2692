import type { ByteWriter } from "../../base/index.js";
import type { ExecutionModel, ExecutionSink, Instance, ProtocolModule, ReplicaId } from "../../model/index.js";
import type { Pacing, StreamId } from "../../multicast/index.js";
import type { ConservativeBlocks } from "./conservative-blocks.js";
import type { StateHost, StateKeeping } from "./state-keeping.js";

/** What a host drives: of a replica with one group, or of a member of one with several. */
export interface HostParts {
  readonly ordering: ProtocolModule<unknown, unknown, unknown>;
  readonly execution: ExecutionModel;
  /** Entries and bytes of the service's state, for the status. */
  size(): { readonly entries: number; readonly bytes: number };
  keepState(host: StateHost, sink: ExecutionSink): StateKeeping;
  /** Null for a replica with one group. */
  readonly membership: Membership | null;
}

/** What a host knows of the other members of its replica (docs/decisions/0010). */
export interface Membership {
  /** The stream that this member orders: 0 is that of g_all, i that of g_i. */
  readonly stream: StreamId;
  /** The replica that is to coordinate this stream if it can. */
  readonly preferred: ReplicaId;
  /** Marks of its batches, and when one without commands is due. */
  readonly pacing: Pacing;
  /** Contiguous prefix of g_all that is decided at this replica. */
  allDecided(): Instance;
  /** Another replica has decided g_all through this: the member of g_all is told. */
  allHeard(through: Instance): void;
  /** Of the member of g_all: what its replica has heard of it in other streams; 0 of the others. */
  allKnown(): Instance;
  /** Has the handler called, outside of any call, when other members have done something that may concern this one. */
  onRing(handler: () => void): void;
  /** A block that this member, as the coordinator, orders of its own accord at monotonic `now` in ms, as `instance`; null for none. */
  blockDue(now: number, instance: Instance): ByteWriter | null;
  /** Of the member of g_all, where commands may fail their safety check and come again: the blocks of such; null otherwise. */
  readonly conservative: ConservativeBlocks | null;
  /** Whether clients send them, rather than threads of the replicas. */
  readonly conservativeFromClients: boolean;
}
