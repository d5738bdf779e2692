/**
 * btree: an ordered map from 8-byte keys to 8-byte values, on the tree of ../tree. `command.ts` is the format of its commands.
 */
import { declaredMapping, type ServiceModule, type SharedServiceModule } from "../../model/index.js";
import type { TreeDescription } from "../tree/index.js";
import { Btree } from "./service.js";

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
