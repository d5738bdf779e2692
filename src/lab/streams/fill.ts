import { assert, ByteWriter } from "../../base/index.js";
import { emptyRun } from "../../model/index.js";
import { Btree, BTREE_COMMAND_BYTES, BtreeOperation, type BtreeOptions } from "../../service/index.js";
import { type KeySpace, keyWord, walkKeys } from "./workload.js";

const FILL_COMMANDS = 4096;

/** A service with this many keys, inserted in an order without pattern, as a tree in use has been; see `KeySpace`. */
export function filledTree(keys: number, space: KeySpace, options: BtreeOptions = {}): Btree {
  const service = new Btree(options);
  const writer = new ByteWriter(32 * FILL_COMMANDS);
  const replies = new ByteWriter(64 * FILL_COMMANDS);
  const run = emptyRun();
  const length = BTREE_COMMAND_BYTES[BtreeOperation.insert] as number;
  run.bytes = writer.bytes;
  run.view = writer.view;
  run.offsets = Uint32Array.from({ length: FILL_COMMANDS }, (_, i) => i * length);
  const next = walkKeys(keys, 0);
  for (let first = 0; first < keys; first += FILL_COMMANDS) {
    run.count = Math.min(FILL_COMMANDS, keys - first);
    for (let i = 0; i < run.count; i++) {
      const at = i * length;
      run.view.setUint32(at, length, true);
      run.view.setUint32(at + 4, BtreeOperation.insert, true);
      run.view.setUint32(at + 8, 0, true);
      run.view.setUint32(at + 12, keyWord(space === "even" ? 2 * next() : first + i, keys, space), true);
      run.view.setUint32(at + 16, first + i, true);
      run.view.setUint32(at + 20, 0, true);
    }
    replies.clear();
    service.execute(run, replies, null);
  }
  assert(service.size().entries === keys, `the tree has ${service.size().entries} of ${keys} keys`);
  return service;
}
