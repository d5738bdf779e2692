import { Command } from "commander";
import { addConfigOption, option } from "./option.js";

export interface DoctorFlags {
  readonly data: string;
  readonly json?: boolean;
}

export function doctorCommand(): Command {
  const command = new Command("doctor")
    .description("Looks at what a cluster needs of this machine: ports, disk, clock, Node, memory, limits.")
    .addOption(option("--data <dir>", "directory whose disk and ports are examined").default("./synod-data"))
    .option("--json", "one JSON object a line on stdout");
  return addConfigOption(command).action(async (flags: DoctorFlags) => {
    const { runDoctor } = await import("./doctor.js");
    process.exit(await runDoctor(flags));
  });
}
