import { Command } from "commander";

export function checkHistoryCommand(): Command {
  return new Command("check")
    .description("Says whether a recorded history is linearizable, and if not, which part contradicts itself.")
    .argument("<history>", "file with one JSON event a line")
    .option("--json", "one JSON object on stdout")
    .action(async (file: string, flags: { json?: boolean }) => {
      const { checkCommand } = await import("./check.js");
      process.exit(await checkCommand(file, { json: flags.json === true }));
    });
}
