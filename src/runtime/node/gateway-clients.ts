import { randomBytes } from "node:crypto";
import { assert } from "../../base/index.js";
import { type ClusterConfig, membersOf, type ReplicaId } from "../../model/index.js";
import type { EventLog, FramePort, Scheduler } from "../../platform/index.js";
import type { BlockClient, BlockClientHandlers } from "../client/block-client.js";
import { createBlockClient } from "../client/client-host.js";
import { createGroupsClient, type GroupsClient } from "../client/groups-client.js";
import { orderedReads } from "../client/ordered-reads.js";
import { clientRoutes } from "./replica-network.js";
import type { ClientAccess } from "./security.js";

export interface GatewayClientsInit {
  readonly self: ReplicaId;
  readonly config: ClusterConfig;
  /** The replica of this thread without a socket; null if it has several groups, whose members come and go: they are dialled. */
  readonly own: FramePort | null;
  readonly access: ClientAccess;
  readonly scheduler: Scheduler;
  readonly events: EventLog;
}

/** The sessions of the gateways of a replica: of whichever replica leads, in the only stream or in one of several. */
export class GatewayClients {
  readonly #init: GatewayClientsInit;
  /** Of several groups: what a gateway has taken clients of, and those that it has not yet. */
  #groups: GroupsClient | null = null;
  readonly #handlers: BlockClientHandlers[] = [];

  constructor(init: GatewayClientsInit) {
    this.#init = init;
  }

  /** A session of the only stream; with several groups the one of a stream, each of which is given once. */
  client(handlers: BlockClientHandlers, stream: number): BlockClient {
    const { config, scheduler, events } = this.#init;
    if (config.groups > 1) return this.#ofStream(handlers, stream);
    assert(stream === 0, `there is one stream, not ${stream}`);
    const client = createBlockClient({
      scheduler,
      port: clientRoutes({ ...this.#init, member: 0 }),
      replicas: config.replicas.map((replica) => replica.id),
      nonce: new Uint8Array(randomBytes(16)),
      handlers,
      events,
    });
    return config.reads === "ordered" ? orderedReads(client) : client;
  }

  #ofStream(handlers: BlockClientHandlers, stream: number): BlockClient {
    assert(this.#handlers[stream] === undefined, `the client of stream ${stream} is given once`);
    this.#handlers[stream] = handlers;
    this.#groups ??= this.#open();
    const client = this.#groups.streams[stream];
    assert(client !== undefined, `there is no stream ${stream}`);
    return client;
  }

  #open(): GroupsClient {
    const { config, scheduler, events } = this.#init;
    const members = Array.from({ length: membersOf(config) }, (_, member) => member);
    return createGroupsClient({
      scheduler,
      ports: members.map((member) => clientRoutes({ ...this.#init, member })),
      replicas: config.replicas.map((replica) => replica.id),
      nonce: new Uint8Array(randomBytes(16)),
      events,
      resubmit: config.resubmit,
      // The commands of one connection take effect in the order sent, whichever keys they have and whichever of them fail at first.
      strict: true,
      // The gateway asks for its clients one by one within a call, and none is called back inside it.
      handlersOf: (stream) => ({
        resolve: (token, replies) => this.#handlers[stream]?.resolve(token, replies),
        fail: (token, failure) => this.#handlers[stream]?.fail(token, failure),
        opened: () => this.#handlers[stream]?.opened(),
        leaderChanged: (leader) => this.#handlers[stream]?.leaderChanged?.(leader),
      }),
    });
  }
}
