import { inspect } from "node:util";
import { ConfigError, type Durability, GROUPS_CONFIGURED_MAX } from "../../model/index.js";
import type { ServiceDefinition } from "../../service/index.js";
import { builtNames } from "../registry.js";

export interface StartClusterOptions<A, R> {
  /** What is replicated. Its definition says in which `module` the replicas' processes find it. */
  readonly service: ServiceDefinition<A, R>;
  /** 1 to 31. 3 by default; f of 2f + 1 may fail. */
  readonly replicas?: number;
  /** Streams of commands, 1 to 16, each executed by a thread of its own; 1 by default. */
  readonly groups?: number;
  /**
   * How commands are executed: "psmr" (default with several groups) or "opt-psmr", where a command goes to the group that it
   * probably concerns; with one group "pipelined" (default) or "sequential" besides.
   */
  readonly execution?: "sequential" | "pipelined" | "psmr" | "opt-psmr";
  /** With opt-psmr who sends a command again that was in the wrong group: "replicas" (default) or its "client". */
  readonly resubmit?: "replicas" | "client";
  /**
   * Where the cluster's data is. An existing cluster there goes on. By default a temporary directory, which is removed when
   * the cluster stops.
   */
  readonly directory?: string;
  /** What an acknowledged command survives: "fsync" (default) anything, "os" the death of processes, "memory" that of a minority. */
  readonly durability?: Durability;
  /** How long a command may go without an answer, and the first replica. 5000 ms. */
  readonly deadlineMs?: number;
  /** What replicas log on stderr: "info", "warn", "error" (default) or "silent". */
  readonly logLevel?: "info" | "warn" | "error" | "silent";
}

/** Timers of Node wait no longer, in ms. */
const DEADLINE_MS_MAX = 2 ** 31 - 1;

/** What an option takes, in words that follow "must be", and whether a value is that. */
interface Accepted {
  readonly what: string;
  readonly takes: (value: unknown) => boolean;
}

const whole = (min: number, max: number): Accepted => ({
  what: `a whole number from ${min} to ${max}`,
  takes: (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
});

const oneOf = (words: readonly string[]): Accepted => ({
  what: `one of ${words.join(", ")}`,
  takes: (value) => words.includes(value as string),
});

/** Callers in JavaScript have no types to tell them, and a value that were passed over would be taken for one that holds. */
const options: Readonly<Record<keyof StartClusterOptions<unknown, unknown>, Accepted>> = {
  service: { what: "what defineService made", takes: () => true },
  replicas: whole(1, 31),
  groups: whole(1, GROUPS_CONFIGURED_MAX),
  execution: oneOf(builtNames("execution")),
  resubmit: oneOf(["replicas", "client"]),
  directory: { what: "a path that is not empty", takes: (value) => typeof value === "string" && value !== "" },
  durability: oneOf(["fsync", "os", "memory"]),
  deadlineMs: {
    what: `a number above 0 and at most ${DEADLINE_MS_MAX}`,
    takes: (value) => typeof value === "number" && value > 0 && value <= DEADLINE_MS_MAX,
  },
  logLevel: oneOf(["info", "warn", "error", "silent"]),
};

/** Throws `ConfigError` that names the first option that there is not, or whose value it can't have. Undefined ones are absent. */
export function checkStartOptions(given: object): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(options, name)) {
      const names = Object.keys(options).join(", ");
      throw new ConfigError(`startCluster has no option ${name} (got ${shown(value)}); it has ${names}`);
    }
    const { what, takes } = options[name as keyof typeof options];
    if (!takes(value)) throw new ConfigError(`${name} must be ${what}, got ${shown(value)}`);
  }
}

function shown(value: unknown): string {
  return typeof value === "string"
    ? JSON.stringify(value.slice(0, 100))
    : inspect(value, { depth: 0, breakLength: Infinity });
}
