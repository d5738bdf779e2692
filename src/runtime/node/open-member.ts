import { randomInt } from "node:crypto";
import { assert } from "../../base/index.js";
import type {
  ClusterConfig,
  Instance,
  ReplicaAddress,
  ReplicaId,
  SharedService,
  SharedServiceModule,
  SharedServiceRoot,
} from "../../model/index.js";
import type { EventLog, ReplicaPlatform, Scheduler } from "../../platform/index.js";
import { createMember, mappingsOf, type MemberParts, type ThreadBells } from "../groups/index.js";
import type { Replica, ReplicaOptions } from "../replica/api.js";
import type { ReplicaMetrics } from "../replica/metrics.js";
import { addressOf, replicaDirectory } from "./cluster-directory.js";
import type { MemberBeginning } from "./member-message.js";
import { nonce, openReplicaNetwork } from "./replica-network.js";
import { openMemberStore } from "./replica-store.js";
import type { ReplicaSecurity } from "./security.js";

/** States are compared every so many ordered commands, and a few times a second at least. */
export const COMPARE_COMMANDS = 1000;

export interface OpenMemberInit {
  readonly self: ReplicaId;
  /** 0 for g_all, i for g_i. */
  readonly member: number;
  /** The cluster's directory. */
  readonly directory: string;
  readonly config: ClusterConfig;
  /** Null for member 0, which executes nothing. */
  readonly service: SharedServiceModule | null;
  readonly options: Partial<ReplicaOptions>;
  readonly parts: MemberParts;
  readonly bells: ThreadBells;
  readonly security: ReplicaSecurity;
  readonly metrics: ReplicaMetrics;
  readonly scheduler: Scheduler;
  readonly events: EventLog;
  onFatal(error: Error): void;
  onRecovered(): void;
  onLeader(leader: ReplicaId): void;
  onShared(description: unknown, checkpointThrough: Instance): void;
  onRestart(reason: string): void;
}

/** A member whose ports are open, and which begins when it is told from what. */
export interface OpenedMember {
  /** Makes the member and starts it: member 1 from what it finds, the others from what member 1 has shared. */
  begin(beginning: MemberBeginning | null): Replica;
  /** Closes the ports of a member that has not begun; one that has is stopped instead. */
  close(done: () => void): void;
}

/**
 * Opens what is a member's own on this machine: its ports, its log and its identity. Rejects with `ListenError`. The caller
 * holds the replica's lock.
 */
export async function openMember(init: OpenMemberInit): Promise<OpenedMember> {
  const { self, member, directory, config, service, scheduler, events, metrics, security } = init;
  const address: ReplicaAddress = addressOf(config, self);
  const storage = openMemberStore(replicaDirectory(directory, self), member, config, scheduler, events, (durationMs) =>
    metrics.logWrite.record(durationMs),
  );
  const { peers, listener } = await openReplicaNetwork({ self, member, config, address, security, scheduler, events });
  const platform: ReplicaPlatform = { scheduler, peers, clients: [listener], events, nonce, ...storage };
  return {
    begin(beginning) {
      assert((beginning === null) === (member === 1), "member 1 begins first, the others from what it has shared");
      const replica = createMember({
        self,
        member,
        config,
        platform,
        options: { seed: randomInt(2 ** 31), compareCommands: COMPARE_COMMANDS, ...init.options },
        parts: init.parts,
        bells: init.bells,
        metrics,
        ...(service === null ? {} : { mappings: mappingsOf(service, config.groups) }),
        createService: () => viewOf(service, config, member, beginning),
        ...(beginning === null ? {} : { checkpointThrough: beginning.checkpointThrough }),
        onFatal: (error) => init.onFatal(error),
        onRecovered: () => init.onRecovered(),
        onLeader: (leader) => init.onLeader(leader),
        onShared: (description, through) => init.onShared(description, through),
        onRestart: (reason) => init.onRestart(reason),
      });
      replica.start();
      return replica;
    },
    close(done) {
      peers.close(() => listener.close(done));
    },
  };
}

/** The service as the thread of a member sees it. */
function viewOf(
  service: SharedServiceModule | null,
  { groups }: ClusterConfig,
  member: number,
  beginning: MemberBeginning | null,
): SharedService | SharedServiceRoot {
  assert(service !== null, "member 0 has no view of the service");
  return beginning === null ? service.createShared(groups) : service.attach(beginning.description, member - 1, groups);
}
