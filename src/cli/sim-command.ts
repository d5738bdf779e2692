import { Command, InvalidArgumentError } from "commander";
import { GROUPS_CONFIGURED_MAX } from "../model/index.js";
import { builtNames, checkName, isServiceModule, serviceModuleOf, type SiblingFamily } from "../runtime/index.js";
import { addConfigOption, oneOf, option, whole } from "./option.js";

export interface SimFlags {
  readonly seed?: number;
  readonly seeds?: readonly [number, number];
  readonly ordering?: string;
  readonly execution?: string;
  readonly service?: string;
  readonly durability?: "fsync" | "os" | "memory";
  readonly replicas?: number;
  readonly groups?: number;
  readonly merge?: "points" | "skips";
  readonly barrier?: "run" | "command";
  readonly resubmit?: "replicas" | "client";
  readonly faults?: string;
  readonly jobs?: number;
  readonly bug?: string;
  readonly listBugs?: boolean;
  readonly scenario?: string;
  readonly shrink?: boolean;
  readonly out?: string;
  readonly verbose?: boolean;
  readonly json?: boolean;
}

/** Seeds are mixed to 32 bits and more, but count as whole numbers. */
const SEED_MAX = Number.MAX_SAFE_INTEGER;

/** `A..B`, both inclusive. */
function range(text: string): [number, number] {
  const match = /^(\d+)\.\.(\d+)$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || first > last || last > SEED_MAX) {
    throw new InvalidArgumentError("It must be A..B, two whole numbers, the first not above the second.");
  }
  return [first, last];
}

function sibling(family: SiblingFamily): (text: string) => string {
  return (text) => {
    try {
      checkName(family, text);
      // Its place is known to the threads that load it, wherever this program was started.
      if (family === "service" && isServiceModule(text)) return serviceModuleOf(text);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
    if (!builtNames(family).includes(text)) {
      throw new InvalidArgumentError(`The simulator has commands for ${builtNames(family).join(", ")} only.`);
    }
    return text;
  };
}

export function simCommand(): Command {
  const drawn = "(default: drawn by the seed)";
  const command = new Command("sim")
    .description("Runs whole clusters in a deterministic simulation under faults, and checks what they did.")
    .addOption(option("--seed <s>", "one seed", whole(0, SEED_MAX)))
    .addOption(option("--seeds <a..b>", "seeds from a to b, both inclusive (default: 1..100)", range))
    .addOption(option("--ordering <name>", `${builtNames("ordering").join("|")}`, sibling("ordering")))
    .addOption(option("--execution <name>", `${builtNames("execution").join("|")} ${drawn}`, sibling("execution")))
    .addOption(
      option("--service <name>", `${builtNames("service").join("|")}|./module.js ${drawn}`, sibling("service")),
    )
    .addOption(option("--durability <kind>", `fsync|os|memory ${drawn}`, oneOf(["fsync", "os", "memory"])))
    .addOption(option("--replicas <n>", `number of replicas ${drawn}`, whole(1, 7)))
    .addOption(
      option("--groups <k>", "groups ordered and executed in parallel (default: 1)", whole(1, GROUPS_CONFIGURED_MAX)),
    )
    .addOption(
      option(
        "--merge <kind>",
        "points|skips; how groups are merged (default: drawn by the seed)",
        oneOf(["points", "skips"]),
      ),
    )
    .addOption(
      option(
        "--barrier <kind>",
        "run|command; where threads meet (default: drawn by the seed)",
        oneOf(["run", "command"]),
      ),
    )
    .addOption(
      option(
        "--resubmit <who>",
        "replicas|client; who sends failed commands of opt-psmr again (default: drawn by the seed)",
        oneOf(["replicas", "client"]),
      ),
    )
    .addOption(option("--faults <list>", `all, none, or names separated by commas ${drawn}`))
    .addOption(option("--jobs <j>", "seeds run at once (default: one a core)", whole(1, 256)))
    .addOption(option("--bug <name>", "plants a bug, with the seeds and arguments it needs"))
    .option("--list-bugs", "lists the bugs that can be planted")
    .option("--shrink", "reduces the failing --seed to a short scenario, in at most 400 runs")
    .addOption(option("--out <file>", "where --shrink writes it (default: seed-S.scenario.txt)"))
    .addOption(option("--scenario <file>", "replays a scenario that --shrink wrote"))
    .option("--verbose", "prints all that happened in the world of each seed that failed, not only the end")
    .option("--json", "one JSON object a line on stdout");
  return addConfigOption(command).action(async (flags: SimFlags) => {
    const { runSim } = await import("./sim.js");
    process.exit(await runSim(flags));
  });
}
