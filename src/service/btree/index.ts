/** btree: the service of an ordered map from 8-byte keys to 8-byte values. */
export { BTREE_COMMAND_BYTES, BtreeOperation, RANGE_PAIRS_MAX } from "./command.js";
