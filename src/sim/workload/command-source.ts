import { assert } from "../../base/index.js";
import type { WorkloadScenario } from "../scenario/index.js";
import { BtreeCommands } from "./btree-commands.js";
import type { CommandSource } from "./command.js";
import { CounterCommands } from "./counter-commands.js";
import { KvCommands } from "./kv-commands.js";

/** What the clients of a simulated world ask a service to do. */
export function commandSource(service: string, scenario: WorkloadScenario, severalGroups = false): CommandSource {
  if (service === "counter") return new CounterCommands(scenario);
  if (service === "btree") return new BtreeCommands(scenario, severalGroups);
  assert(service === "kv", `the simulator has no workload for the service ${service}`);
  return new KvCommands(scenario);
}
