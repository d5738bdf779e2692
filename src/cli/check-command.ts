import { Command } from "commander";

const FORMAT = `
Each operation is an "invoke" and what became of it: "ok", "fail" (certainly not
applied) or "info" (outcome unknown). A process has one operation open at a time.

  {"process":1,"type":"invoke","op":"set","args":["k","a"],"t_ns":120}
  {"process":1,"type":"ok","result":"OK","t_ns":190}

Operations are the string commands of Redis in lower case, such as get, set,
incrby, mget, mset, del. Exit codes: 0 linearizable, 5 not, 1 unknown or
unreadable, 4 malformed.
`;

export function checkHistoryCommand(): Command {
  return new Command("check")
    .description("Says whether a recorded history is linearizable, and if not, which part contradicts itself.")
    .argument("<history>", "file with one JSON event a line")
    .option("--json", "one JSON object on stdout")
    .addHelpText("after", FORMAT)
    .action(async (file: string, flags: { json?: boolean }) => {
      const { checkCommand } = await import("./check.js");
      process.exit(await checkCommand(file, { json: flags.json === true }));
    });
}
