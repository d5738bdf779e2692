import { statSync } from "node:fs";
import { MiB } from "../base/index.js";
import { ExitCode } from "../model/index.js";
import { restoreCluster } from "../runtime/index.js";
import { createOutput, painted } from "./output.js";
import type { RestoreFlags } from "./restore-command.js";

/** Makes a cluster's directory of a backup. */
export async function runRestore(file: string, flags: RestoreFlags): Promise<number> {
  const output = createOutput(flags.json === true);
  try {
    const { config, facts } = await restoreCluster(file, flags.data, flags, (written, total) => {
      output.progress(`  ${Math.floor((100 * written) / Math.max(1, total))} % written`);
    });
    output.progress("");
    output.event({
      event: "restored",
      data: flags.data,
      cluster_id: config.clusterId,
      service: config.service,
      replicas: config.replicas.length,
      from_cluster_id: facts.clusterId,
      through: facts.through,
      digest: facts.digest,
      created_at: facts.createdAt,
      bytes: statSync(file).size,
    });
    output.line(
      `${painted(output, "green", "✔")} ${config.replicas.length} replicas of service ${config.service} in ${flags.data} ` +
        `begin with the state of ${facts.createdAt} (${(statSync(file).size / MiB).toFixed(1)} MiB)`,
    );
    output.line(`  start   synod up --data ${flags.data}`);
    return ExitCode.ok;
  } finally {
    output.progress("");
  }
}
