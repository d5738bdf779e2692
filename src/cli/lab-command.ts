import { Command } from "commander";
import { addConfigOption, oneOf, option, whole } from "./option.js";

export interface LabRunFlags {
  readonly mode?: "real" | "sim";
  readonly quick?: boolean;
  readonly seed: number;
  readonly out?: string;
  readonly json?: boolean;
}

const NOTES = `
Without --mode both are run. real: one replica executes recorded streams with one
and two threads, as fast as this machine can. sim: virtual time with 1 to 16
threads; what commands and barriers cost is measured first, on this machine.

A check that needs the other mode is not made, and says so.

Exit codes: 0 all checks that were made hold, 5 one fails, 4 unknown experiment.
`;

export function labCommand(): Command {
  const lab = new Command("lab").description("Runs the experiments of the papers and checks their results.");
  lab.addCommand(
    new Command("list")
      .description("Lists the experiments.")
      .option("--json", "one JSON object a line on stdout")
      .action(async (flags: { readonly json?: boolean }) => {
        const { listExperiments } = await import("./lab.js");
        process.exit(await listExperiments(flags.json === true));
      }),
  );
  const run = new Command("run")
    .description("Runs one experiment.")
    .argument("<name>", "which one; see synod lab list")
    .addOption(option("--mode <mode>", "real|sim (default: both)", oneOf(["real", "sim"] as const)))
    .option("--quick", "fewer keys and shorter runs: ends within 50 s on two cores")
    .addOption(option("--seed <s>", "of the workloads", whole(0, Number.MAX_SAFE_INTEGER)).default(1))
    .addOption(option("--out <dir>", "writes NAME.html, a report with curves, and NAME.json there"))
    .option("--json", "the result as one JSON object on stdout")
    .addHelpText("after", NOTES);
  lab.addCommand(
    addConfigOption(run).action(async (name: string, flags: LabRunFlags) => {
      const { runLab } = await import("./lab.js");
      process.exit(await runLab(name, flags));
    }),
  );
  return lab;
}
