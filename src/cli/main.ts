import { Command, CommanderError } from "commander";
import { readFileSync } from "node:fs";
import { ExitCode, SynodError } from "../model/index.js";
import { exitCodeOf, ExitError, messageOf } from "./exit.js";
import { applyConfigFile, optionNames, readSwitches, unknownVariables } from "./option.js";

/** Every command with its options. What a command does, in turn, is loaded when it runs. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  up: async () => (await import("./up-command.js")).upCommand(),
  replica: async () => (await import("./replica-command.js")).replicaCommand(),
  status: async () => (await import("./status-command.js")).statusCommand(),
  backup: async () => (await import("./backup-command.js")).backupCommand(),
  restore: async () => (await import("./restore-command.js")).restoreCommand(),
  bench: async () => (await import("./bench-command.js")).benchCommand(),
  check: async () => (await import("./check-command.js")).checkHistoryCommand(),
  sim: async () => (await import("./sim-command.js")).simCommand(),
  lab: async () => (await import("./lab-command.js")).labCommand(),
  doctor: async () => (await import("./doctor-command.js")).doctorCommand(),
  init: async () => (await import("./init-command.js")).initCommand(),
  certificates: async () => (await import("./certificates-command.js")).certificatesCommand(),
  config: async () => (await import("./config-command.js")).configCommand(),
};

/** The program with the command that is asked for; with all of them when none is, for the help and for typing errors. */
async function program(asked: string | undefined): Promise<Command> {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const synod = new Command("synod")
    .description("Replicates any deterministic service: ordered, durable, on all cores.")
    .version(manifest.version)
    .helpCommand(false)
    .hook("preAction", async (_synod, command) => {
      readSwitches(command);
      await complainOfVariables(command);
      if (command.getOptionValue("config") !== undefined) applyConfigFile(command, new Set(await allOptionNames()));
    });
  const load = asked !== undefined && Object.hasOwn(commands, asked) ? commands[asked] : undefined;
  for (const each of load === undefined ? Object.values(commands) : [load]) synod.addCommand(await each());
  silence(synod);
  return synod;
}

/** A variable that no option reads is a typing error whose effect is nothing: better said than found out. */
async function complainOfVariables(command: Command): Promise<void> {
  const unread = unknownVariables(Object.keys(process.env), new Set(optionNames(command)));
  if (unread.length === 0) return;
  // It may be another command's: all of them are loaded only now.
  for (const name of unknownVariables(unread, new Set(await allOptionNames()))) {
    process.stderr.write(`synod: no option reads the variable ${name} of the environment\n`);
  }
}

async function allOptionNames(): Promise<string[]> {
  const loaded = await Promise.all(Object.values(commands).map((load) => load()));
  return loaded.flatMap(optionNames);
}

/** Errors are thrown to us, who say them in one line. */
function silence(command: Command): void {
  command.exitOverride().configureOutput({ outputError: () => undefined });
  for (const below of command.commands) silence(below);
}

async function main(): Promise<void> {
  const [, , asked] = process.argv;
  const synod = await program(asked);
  if (asked !== undefined) {
    await synod.parseAsync();
    return;
  }
  // There is nothing to do: the help says what there is, and the exit code that something was missing.
  synod.outputHelp({ error: true });
  process.exitCode = ExitCode.usage;
}

/** Commander's words on one line, with the place where the right ones are. */
function usageError(error: CommanderError): string {
  const reason = messageOf(error)
    .replace(/^error: /, "")
    .replace(/^command-argument value/, "argument")
    .replace(/\.$/, "");
  const asked = process.argv[2] ?? "";
  return `${reason}; see synod ${Object.hasOwn(commands, asked) ? `${asked} ` : ""}--help`;
}

try {
  await main();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    // A command that has commands of its own and was given none has shown its help, and that is all there is to say.
    const helped = error.code === "commander.help";
    if (error.exitCode !== 0 && !helped) process.stderr.write(`synod: ${usageError(error)}\n`);
  } else {
    process.exitCode = exitCodeOf(error);
    process.stderr.write(`synod: ${messageOf(error)}\n`);
    // An `ExitError` tells of another process, whose log has the stack; a `SynodError` is no fault of the program.
    const expected = error instanceof ExitError || error instanceof SynodError;
    const traced = process.exitCode === ExitCode.fatal && error instanceof Error && !expected;
    if (traced) process.stderr.write(`${error.stack ?? ""}\n`);
  }
}
