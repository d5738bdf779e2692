import { Command } from "commander";
import { addClientSecurityOptions, type ClientSecurityFlags } from "./client-security-option.js";
import { addConfigOption, option } from "./option.js";

export interface StatusFlags extends ClientSecurityFlags {
  readonly data?: string;
  readonly address?: string;
  readonly json?: boolean;
}

export function statusCommand(): Command {
  const command = new Command("status")
    .description("Shows where each replica of a cluster stands, and the digest of its state.")
    .addOption(option("--data <dir>", "the cluster's directory (default: ./synod-data)"))
    .addOption(option("--address <host:port>", "client address of any replica, instead of a directory"))
    .option("--json", "one JSON object on stdout");
  return addConfigOption(addClientSecurityOptions(command)).action(async (flags: StatusFlags) => {
    const { runStatus } = await import("./status.js");
    process.exit(await runStatus(flags));
  });
}
