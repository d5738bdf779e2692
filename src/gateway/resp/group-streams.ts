// Hot file: every command passes here where there are groups. Nothing may allocate per command.
import { assert, ByteWriter, KiB } from "../../base/index.js";
import { ANY_GROUP, COMMAND_BYTES_MAX, emptyRun, type GroupMapping, maskOfAll, streamFor } from "../../model/index.js";
import { BlockMark, type BlockSlot } from "./block-slot.js";
import type { BlockStream } from "./block-stream.js";
import type { Connection } from "./connection.js";

/** The stream of g_all. */
const ALL = 0;

/** Why a command could not be placed: for want of answers to its connection, or of room in the stream of this number. */
export const FOR_ANSWERS = -1;

/**
 * Which of K + 1 streams a command goes through where the cluster has K groups: 0 for g_all, i for g_i. Between streams there
 * is no order, so that the commands of a connection take effect in the order sent because
 * 1. all unanswered commands of a connection are in one stream, which keeps their order, within a block and between blocks;
 * 2. a command of one group goes through that group's stream if no command of its connection is unanswered elsewhere;
 * 3. while commands of the connection are unanswered in g_all, all that follow go through g_all as well, of whichever group;
 * 4. a command of another group, or of several, waits for the answers to those before it, unless these came with the present
 *    input and stand at the end of a block being built: then they move to g_all's block, and it follows them there.
 *
 * So a pipeline over one group stays within that group; one over keys of all groups costs a block of g_all, and no round trip
 * between its commands. Everything in it is ordered, reads too, hence a value read from several groups is of one moment: no
 * reply is ever put together from those of several streams.
 *
 * The streams have each their own blocks, session, deadlines and bounds: one whose group has no leader holds up the connections
 * that have commands in it and no others.
 */
export class GroupStreams {
  readonly #streams: readonly BlockStream[];
  readonly #mapping: GroupMapping;
  readonly #all: number;
  /** Where the commands of the present input begin that went to the stream of a group. */
  readonly #mark = new BlockMark();
  readonly #run = emptyRun();
  readonly #masks = new Uint32Array(1);
  /**
   * A command whose groups are asked for, before it is known which block it joins. There is room for one a little too long,
   * which the store refuses.
   */
  readonly command = new ByteWriter(4 * KiB, COMMAND_BYTES_MAX + KiB);
  /** What the command waits for that was last refused a place: `FOR_ANSWERS` or the stream in which there is no room. */
  lacking = FOR_ANSWERS;

  /** `streams[i]` is the stream of g_i, `streams[0]` that of g_all. */
  constructor(streams: readonly BlockStream[], mapping: GroupMapping) {
    assert(streams.length === mapping.groups + 1, `${mapping.groups} groups have as many streams, and one of g_all`);
    this.#streams = streams;
    this.#mapping = mapping;
    this.#all = maskOfAll(mapping.groups);
    this.#run.count = 1;
    this.#run.offsets[0] = 0;
  }

  /** Begins the input of a connection. */
  begin(): void {
    this.#mark.set(null, null);
  }

  /** True if the connection's next command goes through g_all whatever its groups are. */
  staysInAll(connection: Connection): boolean {
    return connection.slot !== null && connection.slot.stream === ALL;
  }

  /** The block for what is in `command`; the caller writes it there and has it placed. Null: see `lacking`. */
  placeCommand(connection: Connection, values: number): BlockSlot | null {
    const run = this.#run;
    run.bytes = this.command.bytes;
    run.view = this.command.view;
    this.#mapping.masks(run, this.#masks);
    return this.#place(connection, this.#masks[0] as number, values);
  }

  /** The block for a command that concerns all groups; null: see `lacking`. */
  placeForAll(connection: Connection, values: number): BlockSlot | null {
    return this.#place(connection, this.#all, values);
  }

  #place(connection: Connection, mask: number, values: number): BlockSlot | null {
    const newest = connection.slot;
    if (newest === null) {
      this.#masks[0] = mask;
      const stream = streamFor(this.#masks, 1, this.#mapping.groups, connection.number);
      const block = this.#placeIn(stream, connection, values);
      if (block !== null && stream !== ALL) this.#mark.set(block, connection);
      return block;
    }
    const { stream } = newest;
    if (stream === ALL || mask === ANY_GROUP || mask === 1 << (stream - 1)) {
      return this.#placeIn(stream, connection, values);
    }
    return this.#join(connection, values);
  }

  /** Rule 4. */
  #join(connection: Connection, values: number): BlockSlot | null {
    const mark = this.#mark;
    this.lacking = FOR_ANSWERS;
    if (!mark.covers(connection, connection.orderedOpen)) return null;
    const added = mark.values + values;
    if (mark.values > 0 && added > (this.#streams[ALL] as BlockStream).valuesMax) return null;
    const block = this.#placeIn(ALL, connection, added);
    // Both blocks are short of full, so that what comes out holds less than two full ones, which the limits allow for.
    if (block !== null) mark.move(connection, block);
    return block;
  }

  #placeIn(stream: number, connection: Connection, values: number): BlockSlot | null {
    this.lacking = stream;
    return (this.#streams[stream] as BlockStream).place(connection, false, values);
  }
}
