/**
 * btree: an ordered map from 8-byte keys to 8-byte values, on the tree of ../tree. `command.ts` is the format of its commands.
 */
import type { ServiceModule } from "../../model/index.js";
import { Btree } from "./service.js";

export { BTREE_COMMAND_BYTES, BtreeOperation, RANGE_PAIRS_MAX } from "./command.js";
export { Btree, type BtreeOptions } from "./service.js";

export const btree: ServiceModule = { name: "btree", create: () => new Btree() };
