import { Command, CommanderError } from "commander";
import { readFileSync } from "node:fs";
import { ExitCode } from "../model/index.js";
import { exitCodeOf, messageOf } from "./exit.js";
import { applyConfigFile } from "./option.js";
import { benchCommand } from "./bench-command.js";
import { configCommand } from "./config-command.js";
import { doctorCommand } from "./doctor-command.js";
import { replicaCommand } from "./replica-command.js";
import { statusCommand } from "./status-command.js";
import { upCommand } from "./up-command.js";

/** The program: every command with its options. What a command does is loaded when it runs. */
function program(): Command {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const synod = new Command("synod")
    .description("Replicates any deterministic service: ordered, durable, on all cores.")
    .version(manifest.version)
    .helpCommand(false)
    .hook("preAction", (_synod, command) => applyConfigFile(command));
  const commands = [upCommand(), replicaCommand(), statusCommand(), benchCommand(), doctorCommand(), configCommand()];
  for (const command of commands) synod.addCommand(command);
  for (const command of [synod, ...commands, ...commands.flatMap((each) => each.commands)]) {
    command.exitOverride().configureOutput({ outputError: () => undefined });
    command.showHelpAfterError(false);
  }
  return synod;
}

try {
  const synod = program();
  // Without a command there is nothing to do: the help says what there is, and the exit code that something was missing.
  if (process.argv.length <= 2) synod.outputHelp({ error: true });
  if (process.argv.length <= 2) process.exitCode = ExitCode.usage;
  else await synod.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    if (error.exitCode !== 0) {
      const reason = messageOf(error).replace(/^error: /, "");
      process.stderr.write(`synod: ${reason}; see synod --help\n`);
    }
  } else {
    process.exitCode = exitCodeOf(error);
    process.stderr.write(`synod: ${messageOf(error)}\n`);
    if (process.exitCode === ExitCode.fatal && error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
  }
}
