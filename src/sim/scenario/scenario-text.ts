import { ConfigError, GROUPS_CONFIGURED_MAX } from "../../model/index.js";
import { SIM_LINK_DEFAULTS } from "../../platform/index.js";
import { type FaultName, faultNames } from "./fault-name.js";
import { checkScenario, drawGroups, drawScenario, type GroupsScenario, type Scenario } from "./scenario.js";
import type { Strike } from "./strike.js";

/**
 * A scenario as a small text, so that what a seed has found can be read, kept and run again whatever seeds draw by then:
 *
 * ```
 * synod scenario 1
 * # Lines that begin with # say something to people.
 * bug vote-before-persist          the planted bug, if there is one
 * expect decided-is-durable        the invariant that breaks, or pass
 * seed 7                           of all randomness that is left: delays, commands, what a crash leaves on a disk
 * replicas 3                       and each further field of the scenario
 * workload.clients 2               a field of a part of it
 * fault loss                       a fault that holds all the time
 * fault crash 8000                 one that may strike every 8000 ms or so, and does not in this schedule
 * at 412 crash 2893017             a strike: virtual ms, fault, and the seed of what is drawn for it
 * ```
 */
export interface ScenarioText {
  readonly scenario: Scenario;
  readonly bug: string | null;
  /** The invariant that breaks; null: none does. */
  readonly expected: string | null;
  /** What it says to people. */
  readonly remarks: readonly string[];
}

const FIRST_LINE = "synod scenario 1";
const TEXT_CHARACTERS_MAX = 256 * 1024;
const STRIKES_MAX = 10_000;
/** Most of what makes a world expensive; the sizes that seeds draw are far below. */
const fieldsMax: ReadonlyMap<string, number> = new Map([
  ["replicas", 7],
  ["safetyMs", 3_600_000],
  ["livenessMs", 3_600_000],
  ["workload.clients", 64],
  ["workload.lanes", 64],
  ["workload.keys", 10_000],
  ["workload.blockCommandsMax", 1024],
  ["workload.valueBytesMax", 1_000_000],
  ["workload.lastCommands", 1000],
  ["workload.connections", 64],
  ["groups.count", GROUPS_CONFIGURED_MAX],
  ["groups.bellMsMax", 10_000],
  ["groups.oneDown", 1],
]);
/** Of the mean time between two strikes of a fault: an hour. */
const FAULT_MEAN_MS_MAX = 3_600_000;
const parts = ["network", "options", "knobs", "limits", "workload", "groups"] as const;
type Value = string | number;

/** The fields there are, each with a value of its type. */
function template(): Map<string, Value> {
  const scenario = drawScenario({ seed: 0 });
  return fieldsOf({ ...scenario, groups: drawGroups({ seed: 0, groups: 2 }), network: SIM_LINK_DEFAULTS });
}

function fieldsOf(
  scenario: Omit<Scenario, "groups"> & { readonly groups?: GroupsScenario | null },
): Map<string, Value> {
  const fields = new Map<string, Value>();
  for (const [name, value] of Object.entries(scenario)) {
    if (typeof value === "string" || typeof value === "number") fields.set(name, value);
  }
  for (const part of parts) {
    for (const [name, value] of Object.entries(scenario[part] ?? {})) fields.set(`${part}.${name}`, value as Value);
  }
  return fields;
}

export function writeScenario({ scenario, bug, expected, remarks }: ScenarioText): string {
  const lines = [FIRST_LINE, ...remarks.map((remark) => `# ${remark}`)];
  if (bug !== null) lines.push(`bug ${bug}`);
  lines.push(`expect ${expected ?? "pass"}`);
  for (const [name, value] of fieldsOf(scenario)) lines.push(`${name} ${value}`);
  // That a fault may strike matters even if it never does: whoever is down, or whose clock runs fast, depends on it.
  const struck = new Set((scenario.schedule ?? []).map(({ fault }) => fault));
  for (const [fault, meanMs] of scenario.faults) {
    if (!struck.has(fault)) lines.push(meanMs === 0 ? `fault ${fault}` : `fault ${fault} ${meanMs}`);
  }
  for (const { atMs, fault, draw } of scenario.schedule ?? []) lines.push(`at ${atMs} ${fault} ${draw}`);
  return `${lines.join("\n")}\n`;
}

/** Reads what `writeScenario` wrote, or somebody by hand. Throws `ConfigError` that names the line. */
export function readScenario(text: string): ScenarioText {
  if (text.length > TEXT_CHARACTERS_MAX)
    throw new ConfigError(`a scenario has at most ${TEXT_CHARACTERS_MAX} characters`);
  const known = template();
  const fields = new Map<string, Value>();
  const faults = new Map<FaultName, number>();
  const schedule: Strike[] = [];
  const remarks: string[] = [];
  let bug: string | null = null;
  let expected: string | null | undefined;
  text.split("\n").forEach((line, index) => {
    const bad = (why: string): ConfigError => new ConfigError(`line ${index + 1} of the scenario: ${why}`);
    if (index === 0) {
      if (line !== FIRST_LINE) throw bad(`it begins with "${FIRST_LINE}"`);
      return;
    }
    const trimmed = line.trim();
    if (trimmed === "") return;
    if (trimmed.startsWith("#")) return void remarks.push(trimmed.slice(1).trim());
    const [name = "", ...values] = trimmed.split(/\s+/);
    if (name === "at") {
      if (schedule.length >= STRIKES_MAX) throw bad(`there are at most ${STRIKES_MAX} strikes`);
      const strike = { atMs: Number(values[0]), fault: faultNamed(values[1], bad), draw: Number(values[2]) };
      const whole = Number.isInteger(strike.draw) && strike.draw >= 0 && strike.draw <= 0xffffffff;
      if (values.length !== 3 || !(strike.atMs >= 0 && strike.atMs < Infinity) || !whole) {
        throw bad("a strike is: at MS FAULT DRAW");
      }
      schedule.push(strike);
      if (!faults.has(strike.fault)) faults.set(strike.fault, 1);
      return;
    }
    if (name === "fault") {
      const meanMs = Number(values[1] ?? 0);
      if (values.length > 2 || !(meanMs >= 0 && meanMs <= FAULT_MEAN_MS_MAX)) throw bad("a fault is: fault FAULT MS");
      faults.set(faultNamed(values[0], bad), meanMs);
      return;
    }
    const [value] = values;
    if (value === undefined || values.length > 1) throw bad(`${name} has one value`);
    if (name === "bug") bug = value;
    else if (name === "expect") expected = value === "pass" ? null : value;
    else {
      const like = known.get(name);
      if (like === undefined) throw bad(`there is no field ${name}`);
      const read = typeof like === "number" ? Number(value) : value;
      const most = fieldsMax.get(name) ?? Number.MAX_SAFE_INTEGER;
      if (typeof read === "number" && !(read >= 0 && read <= most)) throw bad(`${name} is a number from 0 to ${most}`);
      fields.set(name, read);
    }
  });
  const single = ![...fields.keys()].some((name) => name.startsWith("groups."));
  for (const name of known.keys()) {
    // What a link or a replica is not told it has by default.
    if (single && name.startsWith("groups.")) continue;
    if (name.startsWith("network.") || name.startsWith("options.") || fields.has(name)) continue;
    throw new ConfigError(`the scenario does not say ${name}`);
  }
  if (expected === undefined) throw new ConfigError("the scenario does not say what to expect");
  const scenario = { ...whole(fields), faults, schedule } as unknown as Scenario;
  if (scenario.replicas < 1) throw new ConfigError("a scenario has at least 1 replica");
  checkScenario(scenario);
  return { scenario, bug, expected, remarks };
}

function faultNamed(name: string | undefined, bad: (why: string) => ConfigError): FaultName {
  const found = faultNames.find((fault) => fault === name);
  if (found === undefined) throw bad(`there is no fault ${name ?? ""}`);
  return found;
}

/** `a.b` becomes a field of the part `a`. */
function whole(fields: ReadonlyMap<string, Value>): Record<string, unknown> {
  const scenario: Record<string, unknown> = {};
  const sections = new Map(parts.map((part) => [part as string, {} as Record<string, Value>]));
  for (const [name, value] of fields) {
    const [part = "", field] = name.split(".");
    if (field === undefined) scenario[name] = value;
    else (sections.get(part) as Record<string, Value>)[field] = value;
  }
  if (Object.keys(sections.get("groups") ?? {}).length === 0) sections.delete("groups");
  return { ...scenario, ...Object.fromEntries(sections) };
}
