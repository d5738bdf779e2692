import type { Prng } from "../../base/index.js";
import { CounterOperation } from "../../service/index.js";
import type { WorkloadScenario } from "../scenario/index.js";
import { ArgumentCommand } from "./argument-command.js";
import type { CommandSource, SimCommand } from "./command.js";

export class CounterCommands implements CommandSource {
  readonly #scenario: WorkloadScenario;

  constructor(scenario: WorkloadScenario) {
    this.#scenario = scenario;
  }

  next(prng: Prng): SimCommand {
    if (prng.chance(this.#scenario.reads)) return readCounter();
    // Equal steps: commands of unknown outcome are then all alike, and there are not as many histories as subsets of them.
    return new ArgumentCommand("add", [1], CounterOperation.add);
  }

  onUnknown(): void {}

  finalReads(): SimCommand[] {
    return [readCounter()];
  }
}

function readCounter(): SimCommand {
  return new ArgumentCommand("get", [], CounterOperation.get, { read: true });
}
