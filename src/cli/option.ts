import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import { ConfigError } from "../model/index.js";

/**
 * Options and where their values come from: flags, then `SYNOD_*` of the environment, then the file of `--config`, then
 * defaults. A value goes through the same parser wherever it came from.
 */

/** A parser that can say in a few words what it takes, for the help. */
export interface Parser<T> {
  (text: string): T;
  readonly takes?: string;
}

/** A whole number in [min, max]. */
export function whole(min: number, max: number): Parser<number> {
  const parse = (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };
  return max === Number.MAX_SAFE_INTEGER ? parse : Object.assign(parse, { takes: `${min} to ${max}` });
}

/** A number above 0 and at most `max`. */
export function positive(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+(\.\d+)?$/.test(text) || value <= 0 || value > max) {
      throw new InvalidArgumentError(`It must be a number above 0 and at most ${max}.`);
    }
    return value;
  };
}

/** One of a few words. */
export function oneOf<T extends string>(words: readonly T[]): (text: string) => T {
  return (text) => {
    const word = words.find((candidate) => candidate === text);
    if (word === undefined) throw new InvalidArgumentError(`It must be one of ${words.join(", ")}.`);
    return word;
  };
}

/** An option that may also come from `SYNOD_NAME` and from the config file. */
export function option(flags: string, description: string, parse?: Parser<unknown>): Option {
  // Before a default that the description ends with.
  const takes = parse?.takes === undefined ? "" : `; ${parse.takes}`;
  const made = new Option(flags, description.replace(/( \(default: [^)]*\))?$/, `${takes}$1`));
  made.env(variableOf(made.name()));
  if (parse !== undefined) made.argParser(parse);
  return made;
}

/**
 * What the environment says of options without a value: `true` or 1, `false` or 0. That such a variable is there at all means
 * nothing; `SYNOD_INSECURE_NETWORK=false` must not take the protection away. Throws `ConfigError` for any other text.
 */
export function readSwitches(command: Command): void {
  for (const each of command.options) {
    const { envVar } = each;
    if (each.required || each.optional || envVar === undefined) continue;
    const key = each.attributeName();
    if (command.getOptionValueSource(key) !== "env") continue;
    const text = process.env[envVar] ?? "";
    if (["false", "0", ""].includes(text)) command.setOptionValueWithSource(key, false, "env");
    else if (text !== "true" && text !== "1") throw new ConfigError(`${envVar} must be true or false, got "${text}"`);
  }
}

/** Variables that are no option of a command. Those that begin with `SYNOD_TEST_` are the tests'. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set([`SYNOD_PASSWORD`]);

/** The variables of the environment that look like an option and are none, `known` being the names of all options. */
export function unknownVariables(names: Iterable<string>, known: ReadonlySet<string>): string[] {
  const variables = new Set([...known].map(variableOf));
  return [...names].filter(
    (name) =>
      name.startsWith("SYNOD_") &&
      !name.startsWith(`SYNOD_TEST_`) &&
      !OTHER_VARIABLES.has(name) &&
      !variables.has(name),
  );
}

function variableOf(name: string): string {
  return `SYNOD_${name.replaceAll("-", "_").toUpperCase()}`;
}

export function addConfigOption(command: Command): Command {
  return command.addOption(
    new Option("--config <file>", "JSON file of options, below flags and SYNOD_* in precedence").env("SYNOD_CONFIG"),
  );
}

/**
 * Fills in, from the file of `--config`, what neither a flag nor the environment gave; `known` are the options of all
 * commands. Throws `ConfigError` for a file that is unreadable, malformed, or names an option that no command has.
 */
export function applyConfigFile(command: Command, known: ReadonlySet<string>): void {
  const file = command.opts<{ config?: string }>().config;
  if (file === undefined) return;
  for (const [name, value] of Object.entries(readConfigFile(file))) {
    if (!known.has(name) || name === "config") throw new ConfigError(`${file}: no command has the option "${name}"`);
    const found = command.options.find((candidate) => candidate.name() === name);
    // The file may serve several commands; what this one does not have is another's.
    if (found === undefined) continue;
    const key = found.attributeName();
    const source = command.getOptionValueSource(key);
    if (source === "cli" || source === "env") continue;
    command.setOptionValueWithSource(key, parsedValue(file, found, value), "config");
  }
}

/** The names of the options of a command and of those below it. */
export function optionNames(command: Command): string[] {
  return [...command.options.map((each) => each.name()), ...command.commands.flatMap(optionNames)];
}

function parsedValue(file: string, found: Option, value: string | number | boolean): unknown {
  if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new ConfigError(`${file}: "${found.name()}" is too large for a number of JSON; write it in quotes`);
  }
  const wantsValue = found.required || found.optional;
  if (wantsValue === (typeof value === "boolean")) {
    throw new ConfigError(`${file}: "${found.name()}" takes ${wantsValue ? "a value" : "true or false"}`);
  }
  if (found.parseArg === undefined) return typeof value === "boolean" ? value : String(value);
  try {
    return (found.parseArg as (text: string, previous: unknown) => unknown)(String(value), undefined);
  } catch (error) {
    throw new ConfigError(`${file}: "${found.name()}": ${(error as Error).message}`);
  }
}

function readConfigFile(file: string): Record<string, string | number | boolean> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new ConfigError(`${file}: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError(`${file}: must be one JSON object of options`);
  }
  for (const [name, content] of Object.entries(value)) {
    if (!["string", "number", "boolean"].includes(typeof content)) {
      throw new ConfigError(`${file}: "${name}" must be a string, a number or a boolean`);
    }
  }
  return value as Record<string, string | number | boolean>;
}
