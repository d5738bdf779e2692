import { Command } from "commander";
import { addClientSecurityOptions, type ClientSecurityFlags } from "./client-security-option.js";
import { LOG_LEVELS, type LogLevel } from "./log-level.js";
import { addConfigOption, oneOf, option } from "./option.js";

export interface BackupFlags extends ClientSecurityFlags {
  readonly data?: string;
  readonly address?: string;
  readonly json?: boolean;
  readonly logLevel?: LogLevel;
}

export function backupCommand(): Command {
  const command = new Command("backup")
    .description("Writes the state of a cluster, running or stopped, to one portable file.")
    .argument("<file>", "the file to make; one that is there already is never replaced")
    .addOption(option("--data <dir>", "the cluster's directory (default: ./synod-data)"))
    .addOption(option("--address <host:port>", "client address of the running replica to take it from"))
    .option("--json", "one JSON object on stdout")
    .addOption(option("--log-level <level>", `what is logged on stderr: ${LOG_LEVELS.join("|")}`, oneOf(LOG_LEVELS)));
  return addConfigOption(addClientSecurityOptions(command)).action(async (file: string, flags: BackupFlags) => {
    const { runBackup } = await import("./backup.js");
    process.exit(await runBackup(file, flags));
  });
}
