import type { ServiceDefinition } from "../../service/index.js";

/**
 * What a module that defines a service tells the replica that is loading it, across copies of this package: the user's
 * project may have one of its own beside that of the program. Outside of a replica there is nobody to tell.
 */
export interface LoadingReplica {
  defined(definition: ServiceDefinition): void;
  /** The module called what only the user's own process does, such as `startCluster`: it goes no further here. */
  suspended(): void;
}

const KEY = Symbol.for("synod.replica.1");

const holder = globalThis as { [KEY]?: LoadingReplica };

export function listenForDefinitions(replica: LoadingReplica): void {
  holder[KEY] = replica;
}

/** Makes a definition known to the replica that loads its module. */
export function announceDefinition(definition: ServiceDefinition): void {
  holder[KEY]?.defined(definition);
}

/**
 * In a replica, a promise that never settles; else null. One file may define a service and start a cluster of it: each
 * replica loads that file too, takes the definition, and must not start a cluster of its own.
 */
export function suspendedInReplica(): Promise<never> | null {
  const replica = holder[KEY];
  if (replica === undefined) return null;
  replica.suspended();
  return new Promise<never>(() => undefined);
}
