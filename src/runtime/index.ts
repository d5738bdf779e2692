/**
 * runtime: hosts that drive the pure cores with a platform: the replica host and the client host. `registry.ts` alone names
 * all siblings.
 */
export * from "./client/index.js";
export * from "./groups/index.js";
export * from "./replica/index.js";
export * from "./node/index.js";
export * from "./user-service/index.js";
export {
  builtNames,
  checkCombination,
  checkName,
  clientMappingOf,
  serviceEntry,
  sharedServiceFor,
  type SharingConfig,
  type SiblingFamily,
  siblingsOf,
} from "./registry.js";
