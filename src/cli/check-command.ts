import { Command } from "commander";
import { ConfigError } from "../model/index.js";
import { oneOf, option, whole } from "./option.js";

const SERVICES = ["kv", "btree", "counter"] as const;

const FORMAT = `
Each operation is an "invoke" and what became of it: "ok", "fail" (certainly not
applied) or "info" (outcome unknown). A process has one operation open at a time.

  {"process":1,"type":"invoke","op":"set","args":["k","a"],"t_ns":120}
  {"process":1,"type":"ok","result":"OK","t_ns":190}

Operations are the commands of the store in lower case, such as get, set, incrby,
mget, mset, del, range, and exec with a list of commands. Commands that let keys
expire or rename them are not modelled: what they touch is left out, and the
verdict is unknown. Stale reads and the like are named.

With --simulate no history is read: a simulated cluster runs under faults until
clients have been answered n commands of every kind, and each is compared with a
reference model that follows the decided order.

Exit codes: 0 linearizable, 5 not, 1 unknown or unreadable, 4 malformed.
`;

export function checkHistoryCommand(): Command {
  return new Command("check")
    .description("Says whether a recorded history is linearizable, and if not, which part contradicts itself.")
    .argument("[history]", "file with one JSON event a line, - for standard input")
    .addOption(
      option("--simulate <n>", "checks a simulated run of n operations by witness instead", whole(1, 100_000_000)),
    )
    .addOption(option("--service <name>", "kv|btree|counter, for --simulate", oneOf(SERVICES)).default("kv"))
    .addOption(option("--seed <s>", "for --simulate", whole(0, Number.MAX_SAFE_INTEGER)).default(1))
    .option("--json", "one JSON object on stdout")
    .addHelpText("after", FORMAT)
    .action(async (file: string | undefined, flags: CheckFlags) => {
      const { simulate, service, seed } = flags;
      if ((file === undefined) === (simulate === undefined)) {
        throw new ConfigError("give either a file with a history or --simulate");
      }
      const json = flags.json === true;
      if (simulate !== undefined) {
        const { witnessCommand } = await import("./check-witness.js");
        process.exit(await witnessCommand({ operations: simulate, service, seed, json }));
      }
      const { checkCommand } = await import("./check.js");
      process.exit(await checkCommand(file as string, { json }));
    });
}

interface CheckFlags {
  readonly simulate?: number;
  readonly service: string;
  readonly seed: number;
  readonly json?: boolean;
}
