import { existsSync, writeFileSync } from "node:fs";
import { Command } from "commander";
import { addClusterOptions } from "./cluster-option.js";
import { ConfigError, REPLICA_USER } from "../model/index.js";
import { givenPassword } from "./client-security-option.js";
import { addConfigOption, option } from "./option.js";
import type { ClusterFlags } from "./up-command.js";

interface NewFlags extends ClusterFlags {
  readonly cluster: string;
  readonly host: readonly string[];
  readonly user: string;
  readonly passwordFile?: string;
}

/** `synod config new`: the file that describes a cluster of several machines. */
export function configNewCommand(): Command {
  const command = new Command("new")
    .description("Describes a cluster of several machines, one replica each, in a file for all of them.")
    .requiredOption("--host <name>", "a machine's name or address; once for each", gathered)
    .addOption(option("--cluster <file>", "the file to write").default("./cluster.json"))
    .addOption(option("--user <name>", "the user who has the password").default("default"))
    .addOption(option("--password-file <file>", "file with a password for clients (or SYNOD_PASSWORD)"));
  return addConfigOption(addClusterOptions(command)).action(async (flags: NewFlags) => {
    const { describeCluster } = await import("../runtime/index.js");
    const { hashPassword } = await import("../platform/index.js");
    const { madeCertificates } = await import("./certificate-maker.js");
    const { cluster: file, host: hosts, user, replicas, ...request } = flags;
    if (replicas !== undefined && replicas !== hosts.length) {
      throw new ConfigError(`--replicas ${replicas} and ${hosts.length} hosts contradict each other`);
    }
    if (existsSync(file)) throw new ConfigError(`${file} exists`);
    if (user === REPLICA_USER) throw new ConfigError(`--user ${user} is the replicas' own`);
    const password = givenPassword(flags.passwordFile);
    const config = describeCluster(hosts, request, {
      ...madeCertificates,
      ...(password === null ? {} : { passwords: { [user]: hashPassword(password) } }),
    });
    writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600, flag: "wx" });
    process.stdout.write(`${file}: cluster ${config.clusterId}; it holds a secret of the replicas\n`);
  });
}

/** `synod config password`: what `security.passwords` takes in place of a password. */
export function configPasswordCommand(): Command {
  return new Command("password")
    .description("Prints a password as cluster.json stores it.")
    .addOption(option("--password-file <file>", "file with the password (or SYNOD_PASSWORD)"))
    .action(async (flags: { readonly passwordFile?: string }) => {
      const { hashPassword } = await import("../platform/index.js");
      const password = givenPassword(flags.passwordFile);
      if (password === null) throw new ConfigError("no password: --password-file or SYNOD_PASSWORD is needed");
      process.stdout.write(`${hashPassword(password)}\n`);
    });
}

function gathered(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}
