import { ConfigError, type ServiceModule, type SharedServiceModule } from "../../model/index.js";
import { definedService, sharedDefinedService } from "../../service/index.js";
import type { Violation } from "./determinism-guard.js";
import { loadDefinition } from "./service-module.js";

/** A command that a simulated client sends. */
export interface SimulatedCall {
  readonly name: string;
  readonly args?: unknown;
}

/** A command as its client saw it. */
export interface SimulatedOperation {
  /** "final" for those of `simulate.final`. */
  readonly client: string;
  readonly name: string;
  readonly args: unknown;
  /** "unknown": no answer; it may have been executed, and may yet be. */
  readonly outcome: "ok" | "error" | "unknown";
  /** What it returned, or the message of what it threw. */
  readonly result: unknown;
  /** Virtual time in ms. A command took effect between the two. */
  readonly startMs: number;
  readonly endMs: number;
}

/** What a service's module exports as `simulate`, for `synod sim --service`. */
export interface Simulation {
  /** The next command of a client. `random` gives numbers in [0, 1), the same ones for the same seed. */
  readonly commands: (random: () => number, client: string) => SimulatedCall;
  /** Commands that are asked one after the other when all is over and every replica has caught up. */
  readonly final?: () => readonly SimulatedCall[];
  /** Throws if the operations, those of `final` last, can't have happened. */
  readonly check?: (operations: readonly SimulatedOperation[]) => void;
}

/** A service of a user, with what its module says about its load. */
export interface SimulatedService {
  readonly module: ServiceModule;
  /** The same for several groups. */
  readonly shared: SharedServiceModule;
  /** Name of the command with this number, for reports; null if there is none. */
  commandName(number: number): string | null;
  isRead(name: string): boolean;
  /** Where the determinism guard refused something last, as `file:line:column`; null for nowhere. */
  violatedAt(): string | null;
  draw(random: () => number, client: string): SimulatedCall;
  final(): readonly SimulatedCall[];
  /** What the module's own check objects to, null for nothing. */
  check(operations: readonly SimulatedOperation[]): string | null;
}

const EXAMPLE =
  'export const simulate = { commands: (random) => ({ name: "deposit", args: { to: "ana", amount: 1 + Math.floor(random() * 9) } }) };';

/**
 * Loads the service of a module for simulation, behind the determinism guard, which its `simulate` stands behind as well: a
 * load that reads a clock could not be replayed. Rejects with `ConfigError`.
 */
export async function loadSimulatedService(name: string): Promise<SimulatedService> {
  let violatedAt: string | null = null;
  const onViolation = ({ at }: Violation): void => {
    violatedAt = at;
  };
  const { definition, exported, userCode, file } = await loadDefinition(name, { onViolation });
  const simulate = exported["simulate"] as Partial<Simulation> | undefined;
  if (typeof simulate?.commands !== "function") {
    throw new ConfigError(
      `service module ${file} says nothing about its load; it exports simulate, for instance ${EXAMPLE}`,
    );
  }
  const { commands, final, check } = simulate as Simulation;
  const byName = new Map(definition.commands.map((command) => [command.name, command]));
  const byNumber = new Map(definition.commands.map((command) => [command.number, command.name]));
  /** Runs code of the module that is no command. */
  const guarded = <T>(what: string, run: () => T): T => {
    userCode.running = `service ${definition.name}, simulate.${what}`;
    try {
      const result = run();
      if (userCode.violation !== null) throw userCode.violation;
      return result;
    } finally {
      userCode.running = null;
      userCode.violation = null;
    }
  };
  const checked = (call: SimulatedCall): SimulatedCall => {
    if (byName.has((call as Partial<SimulatedCall> | undefined)?.name ?? "")) return call;
    throw new ConfigError(
      `service ${definition.name}: simulate names the command ${JSON.stringify(call)}, there is none`,
    );
  };
  return {
    module: definedService(definition, userCode),
    shared: sharedDefinedService(definition, userCode),
    commandName: (number) => byNumber.get(number) ?? null,
    violatedAt: () => violatedAt,
    isRead: (command) => byName.get(command)?.read === true,
    draw: (random, client) => checked(guarded("commands", () => commands(random, client))),
    final: () => (final === undefined ? [] : guarded("final", final).map(checked)),
    check: (operations) => {
      if (check === undefined) return null;
      try {
        guarded("check", () => check(operations));
        return null;
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    },
  };
}
