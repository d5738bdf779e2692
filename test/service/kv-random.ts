/** Commands of kv for random tests. */

import { ByteWriter } from "#src/base/index.js";
import { KvOperation } from "#src/service/index.js";
import { latin1 } from "#src/base/index.js";
import { type Command, writeCommand } from "./kv-command.js";

/** A transaction of these commands, with the id of a watch (eight bytes as characters) or "" without. */
export function transaction(watch: string, commands: readonly Command[]): Command {
  const inner = commands.map((command) => {
    const writer = new ByteWriter();
    writeCommand(writer, command);
    return latin1(writer.bytes, 0, writer.length);
  });
  return { operation: KvOperation.transaction, args: [watch, ...inner] };
}
