import {
  defineService as definitionOf,
  type ResultOf,
  type ServiceDefinition,
  type ServiceShape,
} from "../../service/index.js";
import { announceDefinition } from "./announcement.js";

/**
 * Defines a service: tables, and commands on them. The guide (docs/guide.md) shows how. The definition is plain data:
 * `startCluster` and `synod up --service ./module.js` replicate it, `connect` calls it.
 *
 * Throws `ConfigError` that names the service, the command and the field.
 */
export function defineService<T, A, C extends Record<string, object>>(
  shape: ServiceShape<T, C, A>,
): ServiceDefinition<A, { readonly [N in keyof C]: ResultOf<C[N]> }> {
  const definition = definitionOf<T, A, C>(shape);
  announceDefinition(definition);
  return definition;
}
