import { ByteWriter, KiB } from "../../base/index.js";
import { BLOCK_BYTES_MAX, COMMAND_BYTES_MAX, type GroupMapping } from "../../model/index.js";
import type { BlockClientHandlers } from "./block-client.js";
import type { Calls, DecodeReply } from "./calls.js";
import type { GroupsClient } from "./groups-client.js";
import { copyReply, PromiseClient, type PromiseClientInit } from "./promise-client.js";
import { StreamChoice } from "./stream-choice.js";

export interface GroupedCallsInit extends Omit<PromiseClientInit, "reads"> {
  /** Which groups commands concern: that of the cluster's service. */
  readonly mapping: GroupMapping;
}

/**
 * Calls over the streams of a cluster with groups: each goes through the stream of its command's group, or through g_all. The
 * calls of one turn leave as one block for each stream.
 *
 * What is called after an answer takes effect after what was answered. Calls that wait for each other's answers in no way take
 * effect in the order made if they go through one stream, as all commands of one group do; else in any order. With opt-PSMR, where
 * a command may be executed later than those behind it, that goes for commands which conflict.
 *
 * The maxima of `callsMax` and `bytesMax` are those of each stream.
 */
export class GroupedCalls implements Calls {
  readonly #streams: readonly PromiseClient[];
  readonly #choice: StreamChoice;
  readonly #writer = new ByteWriter(4 * KiB, BLOCK_BYTES_MAX);

  constructor(init: GroupedCallsInit) {
    const { mapping } = init;
    this.#choice = new StreamChoice(mapping);
    this.#streams = Array.from({ length: mapping.groups + 1 }, () => new PromiseClient({ ...init, reads: false }));
  }

  /** Give these to the client of the streams, then the client to `attach`. */
  handlersOf(stream: number): BlockClientHandlers {
    return this.#stream(stream).handlers;
  }

  attach(client: GroupsClient): void {
    for (const [stream, calls] of this.#streams.entries()) {
      calls.attach(client.streams[stream] as GroupsClient["streams"][number]);
    }
  }

  call(command: Uint8Array, read = false): Promise<Uint8Array> {
    return this.submit(read, (writer) => writer.copy(command, 0, command.length), copyReply);
  }

  submit<T>(read: boolean, write: (writer: ByteWriter) => void, decode: DecodeReply<T>): Promise<T> {
    const writer = this.#writer;
    writer.clear();
    try {
      write(writer);
    } catch {
      // It fails in the same way again, where the error is told.
      return this.#stream(0).submit(read, write, decode);
    }
    const { bytes, view, length } = writer;
    const whole = length >= 4 && length <= COMMAND_BYTES_MAX && view.getUint32(0, true) === length;
    if (whole) this.#choice.look(1, bytes, view, 0);
    // What is no command is refused by any of them.
    const stream = whole ? this.#choice.of(0) : 0;
    return this.#stream(stream).submit(read, (to) => to.copy(bytes, 0, length), decode);
  }

  async close(): Promise<void> {
    // That of stream 0 comes last: it ends the sessions of all.
    await Promise.all(this.#streams.toReversed().map((calls) => calls.close()));
  }

  #stream(stream: number): PromiseClient {
    return this.#streams[stream] as PromiseClient;
  }
}
