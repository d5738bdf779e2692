import { assert } from "../../base/index.js";
import { type ClusterConfig, isOptimistic } from "../../model/index.js";
import type { WorkloadScenario } from "../scenario/index.js";
import { BoundedBtreeCommands } from "./bounded-btree-commands.js";
import { BtreeCommands } from "./btree-commands.js";
import type { CommandSource } from "./command.js";
import { CounterCommands } from "./counter-commands.js";
import { KvCommands } from "./kv-commands.js";

/** What the clients of a simulated world ask a service to do; `cluster` is one with a single group by default. */
export function commandSource(
  service: string,
  scenario: WorkloadScenario,
  cluster: Pick<ClusterConfig, "groups" | "execution"> = { groups: 1, execution: "" },
): CommandSource {
  if (service === "counter") return new CounterCommands(scenario);
  if (service === "btree" && isOptimistic(cluster)) return new BoundedBtreeCommands(scenario, cluster.groups);
  if (service === "btree") return new BtreeCommands(scenario, cluster.groups > 1);
  assert(service === "kv", `the simulator has no workload for the service ${service}`);
  return new KvCommands(scenario);
}
