/**
 * btree: an ordered map from 8-byte keys to 8-byte values, on the tree of ../tree. `command.ts` is the format of its commands.
 */
import {
  checkBounds,
  declaredMapping,
  optimisticMapping,
  type ServiceModule,
  type SharedServiceModule,
} from "../../model/index.js";
import type { TreeDescription } from "../tree/index.js";
import { Btree, type BtreeOptions } from "./service.js";

export { BTREE_COMMAND_BYTES, BtreeOperation, RANGE_PAIRS_MAX } from "./command.js";
export { Btree, type BtreeOptions } from "./service.js";

export const btree: ServiceModule = { name: "btree", create: () => new Btree() };

/** Keys belong to groups by a hash, so that popular ones that lie side by side do not make one thread the busiest. */
export const sharedBtree: SharedServiceModule = {
  name: "btree",
  createShared: (groups) => new Btree({ hashedGroups: groups }),
  attach: (description, thread, groups) =>
    Btree.attach(description as TreeDescription, thread, { hashedGroups: groups }),
  mapping: (groups) => declaredMapping(new Btree({ hashedGroups: groups }), groups),
};

/**
 * Keys belong to groups by their ranges, so that most leaves are one thread's alone: what opt-PSMR's safety check asks for. The ranges are
 * cut at `bounds`, whole numbers in decimal as in a cluster's configuration, without them into equal parts. Throws `ConfigError` where
 * these are not bounds for so many groups.
 */
export function sharedBtreeWith(bounds?: readonly string[]): SharedServiceModule {
  const optionsFor = (groups: number): BtreeOptions => ({ bounds: boundsFor(groups, bounds) });
  return {
    name: "btree",
    createShared: (groups) => new Btree(optionsFor(groups)),
    attach: (description, thread, groups) => Btree.attach(description as TreeDescription, thread, optionsFor(groups)),
    mapping: (groups) => declaredMapping(new Btree(optionsFor(groups)), groups),
    optimisticMapping: (groups) => optimisticMapping(new Btree(optionsFor(groups)), groups),
  };
}

/** Low and high words of the keys at which the key space is cut for so many groups. */
function boundsFor(groups: number, given: readonly string[] | undefined): [low: number, high: number][] {
  const bounds = given ?? Array.from({ length: groups - 1 }, (_, i) => String((BigInt(i + 1) << 64n) / BigInt(groups)));
  checkBounds(groups, bounds);
  return bounds.map((bound) => {
    const key = BigInt(bound);
    return [Number(key & 0xffffffffn), Number(key >> 32n)];
  });
}
