import { dirname, join } from "node:path";
import { Command } from "commander";
import { option, whole } from "./option.js";

interface CertificatesFlags {
  readonly cluster: string;
  readonly days: number;
}

/** `synod certificates`: what the documentation's example needs; a company's own authority does as well. */
export function certificatesCommand(): Command {
  return new Command("certificates")
    .description("Makes an authority and the certificates of a cluster's replicas and clients, with openssl.")
    .addOption(option("--cluster <file>", "the file that describes the cluster").default("./cluster.json"))
    .addOption(option("--days <n>", "how long they are valid", whole(1, 36_500)).default(825))
    .action(async (flags: CertificatesFlags) => {
      const { loadClusterFile } = await import("../runtime/index.js");
      const { makeCertificates, TLS_DIRECTORY } = await import("./certificate-maker.js");
      const directory = join(dirname(flags.cluster), TLS_DIRECTORY);
      makeCertificates(await loadClusterFile(flags.cluster), directory, flags.days);
      process.stdout.write(`${directory}: keep ca.key away from the replicas\n`);
    });
}
