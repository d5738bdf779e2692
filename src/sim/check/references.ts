import { assert } from "../../base/index.js";
import type { KeyedReference, ReferenceModel } from "./reference.js";
import { ReferenceBtree } from "./reference-btree.js";
import { ReferenceCounter } from "./reference-counter.js";
import { ReferenceKv } from "./reference-kv.js";

const models: ReadonlyMap<string, () => ReferenceModel> = new Map<string, () => ReferenceModel>([
  ["btree", () => new ReferenceBtree()],
  ["counter", () => new ReferenceCounter()],
  ["kv", () => new ReferenceKv()],
]);

/** True if there is a reference model of this service: services that users define have none. */
export const hasReference = (service: string): boolean => models.has(service);

export function createReference(service: string): ReferenceModel {
  const create = models.get(service);
  assert(create !== undefined, `there is no reference model of the service ${service}`);
  return create();
}

/** A model by which threads in parallel can be followed; null if there is none of this service. */
export function createKeyedReference(service: string): KeyedReference | null {
  return service === "btree" ? new ReferenceBtree() : null;
}
