import { createRespGateway } from "../gateway/index.js";
import type { ReplicaAddress } from "../model/index.js";
import { TcpBytePort } from "../platform/index.js";
import { clientMappingOf, type Gateway, type GatewayInit, runReplicaThread } from "../runtime/index.js";

/** The module that a replica's thread starts from: the replica, and the gateways that its address has ports for. */
await runReplicaThread((init) => (init.address.resp === null ? [] : [respGateway(init, init.address.resp)]));

function respGateway(init: GatewayInit, listen: NonNullable<ReplicaAddress["resp"]>): Gateway {
  const { config, events, scheduler, self, authenticator, tls } = init;
  const port = new TcpBytePort({ scheduler, events, listen, tls });
  const gateway = createRespGateway({
    port,
    client: (handlers, stream) => init.client(handlers, stream),
    mapping: config.groups === 1 ? null : clientMappingOf(config),
    scheduler,
    events,
    info,
    authenticator,
  });

  function info(): Record<string, Record<string, string | number>> {
    const status = init.status();
    if (status === null) return {};
    const { role, leader, ballot, decided, executed, entries } = status;
    return {
      server: { process_id: process.pid, tcp_port: listen.slice(listen.lastIndexOf(":") + 1) },
      synod: {
        cluster_id: config.clusterId,
        replica: self,
        replicas: config.replicas.length,
        replica_role: role,
        leader,
        ballot,
        decided,
        executed,
        ordering: config.ordering,
        execution: config.execution,
        groups: config.groups,
        durability: config.durability,
      },
      keyspace: entries === 0 ? {} : { db0: `keys=${entries},expires=0,avg_ttl=0` },
    };
  }

  return {
    listen(done) {
      port.listen((error) => {
        if (error === null) gateway.start();
        done(error);
      });
    },
    close: (done) => gateway.close(done),
    counters: () => gateway.status(),
  };
}
