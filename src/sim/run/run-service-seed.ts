import type { SimulatedService } from "../../runtime/index.js";
import { drawScenario, type SimArguments } from "../scenario/index.js";
import { ServiceCommands } from "../workload/index.js";
import { type Disguise, ServiceEffects } from "../world/index.js";
import { runScenario, type SeedResult } from "./run-seed.js";

/**
 * Runs one world whose service a user has defined, under the load that its module describes. Besides the invariants of every
 * world, `service-determinism`: each ordered command does the same on every replica, and none meets the determinism
 * guard; and `service-check`: what the module's own check says at the end. Throws `ConfigError` for a load that names commands
 * which there are not.
 */
export function runServiceSeed(wanted: SimArguments, service: SimulatedService): SeedResult {
  const effects = new ServiceEffects(service);
  const source = new ServiceCommands(service);
  const disguise: Disguise = {
    siblings: (real, replica) => ({ ...real, createService: () => effects.watched(replica) }),
    shared: service.shared,
    members: { service: (real, replica) => (replica === 0 ? real : effects.watchedShared(real, replica)) },
  };
  const result = runScenario(drawScenario(wanted), disguise, source);
  if (source.mistake !== null) throw source.mistake;
  return { ...result, operations: source.operations.length };
}
