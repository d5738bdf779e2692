import { type Command, InvalidArgumentError, Option } from "commander";
import { GROUPS_CONFIGURED_MAX } from "../model/index.js";
import { builtNames, checkName, type SiblingFamily } from "../runtime/index.js";
import { oneOf, option, whole } from "./option.js";

/** Fifteen numbers of twenty digits, and commas and blanks between. */
const BOUNDS_TEXT_MAX = 400;

/** The name of a sibling that this version has built. */
function sibling(family: SiblingFamily): (text: string) => string {
  return (text) => {
    try {
      checkName(family, text);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
    return text;
  };
}

function siblingOption(family: SiblingFamily, what: string, fallback: string): Option {
  const names = [...builtNames(family), ...(family === "service" ? ["./module.js"] : [])].join("|");
  return option(`--${family} <name>`, `${what}: ${names} (default: ${fallback})`, sibling(family));
}

/** Whole numbers in decimal, separated by commas; what they mean to each other and to the groups is checked with the cluster. */
function decimals(text: string): readonly string[] {
  const numbers = text.split(",").map((each) => each.trim());
  if (text.length > BOUNDS_TEXT_MAX || !numbers.every((each) => /^\d{1,20}$/.test(each))) {
    throw new InvalidArgumentError("It must be whole numbers in decimal, separated by commas.");
  }
  return numbers;
}

/** An option of the product contract that this version has not built: known, absent from the help, refused. */
function unbuilt(flags: string, accepted?: string): Option {
  // A flag without a value is parsed too, given a preset one.
  const made = new Option(flags).preset("").hideHelp();
  return made.argParser((text: string) => {
    if (text === accepted) return text;
    const there = accepted === undefined ? "" : ` There is only ${accepted}.`;
    throw new InvalidArgumentError(`This is not built yet.${there}`);
  });
}

/** The options that say what a cluster is: of `up`, and of `bench` for its own. */
export function addClusterOptions(command: Command, service = "kv"): Command {
  return command
    .addOption(option("--replicas <n>", "number of replicas (default: 3)", whole(1, 31)))
    .addOption(
      option("--port <port>", "first Redis-protocol port, 0 takes free ports (default: 7379)", whole(0, 65_535 - 31)),
    )
    .addOption(siblingOption("service", "what is replicated", service))
    .addOption(siblingOption("ordering", "ordering protocol", "multi-paxos"))
    .addOption(siblingOption("execution", "execution model", "pipelined"))
    .addOption(siblingOption("reads", "how reads are made linearizable", "quorum; ordered with several groups"))
    .addOption(
      option(
        "--durability <kind>",
        "what a vote waits for: fsync|os|memory (default: fsync)",
        oneOf(["fsync", "os", "memory"]),
      ),
    )
    .addOption(
      option(
        "--groups <k>",
        "streams of commands that execute in parallel, with --execution psmr or opt-psmr (default: 1)",
        whole(1, GROUPS_CONFIGURED_MAX),
      ),
    )
    .addOption(
      option(
        "--merge <how>",
        "how the streams of several groups are merged: points|skips (default: points)",
        oneOf(["points", "skips"]),
      ),
    )
    .addOption(
      option(
        "--barrier <where>",
        "threads of several groups meet for each run|command (default: run)",
        oneOf(["run", "command"]),
      ),
    )
    .addOption(
      option(
        "--resubmit <who>",
        "who sends a failed command of opt-psmr again: replicas|client (default: replicas)",
        oneOf(["replicas", "client"]),
      ),
    )
    .addOption(
      option(
        "--bounds <a,b,…>",
        "where opt-psmr cuts the keys of btree, one number fewer than groups (default: equal parts)",
        decimals,
      ),
    )
    .addOption(unbuilt("--speculative"))
    .addOption(unbuilt("--partitions <p>", "1"))
    .addOption(unbuilt("--dissemination <how>", "star"));
}
