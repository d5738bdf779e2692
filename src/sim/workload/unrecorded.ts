import type { ByteWriter, Prng } from "../../base/index.js";
import type { CommandSource, SimCommand } from "./command.js";

/** The commands of another source, kept out of the history: for runs too long for one. */
export class UnrecordedCommands implements CommandSource {
  readonly #source: CommandSource;

  constructor(source: CommandSource) {
    this.#source = source;
  }

  next(prng: Prng, client: string): SimCommand {
    return hidden(this.#source.next(prng, client));
  }

  /** Keys need not be spared: nobody has to consider what may have become of them. */
  onUnknown(): void {}

  finalReads(): SimCommand[] {
    return this.#source.finalReads().map(hidden);
  }
}

function hidden(command: SimCommand): SimCommand {
  return {
    op: null,
    args: [],
    read: command.read,
    encode: (writer: ByteWriter) => command.encode(writer),
    decode: () => 0,
  };
}
