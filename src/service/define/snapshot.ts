import { ByteQueue, type ByteWriter, latin1 } from "../../base/index.js";
import { CheckpointDamagedError, type SnapshotSink, type SnapshotSource } from "../../model/index.js";
import { TABLES_MAX } from "./command.js";

/**
 * A snapshot of a user-defined service, little-endian: `u32 magic`, `u32 format`, `u32 number of tables`, per table
 * `u32 length` and its name, then the snapshot of the store. The entries know tables by number, so a later version of the
 * service that has the same tables, in the same order, and perhaps more behind them, can go on with it.
 */
const MAGIC = 0x46445653;
const FORMAT = 1;
const HEADER_BYTES = 12;
const NAME_BYTES_MAX = 64;

export class DefinedSource implements SnapshotSource {
  readonly #tables: readonly string[];
  readonly #entries: SnapshotSource;
  #begun = false;

  constructor(tables: readonly string[], entries: SnapshotSource) {
    this.#tables = tables;
    this.#entries = entries;
  }

  next(writer: ByteWriter, bytesTarget: number): boolean {
    if (!this.#begun) {
      this.#begun = true;
      writer.u32(MAGIC);
      writer.u32(FORMAT);
      writer.u32(this.#tables.length);
      for (const name of this.#tables) {
        writer.u32(name.length);
        writer.latin1(name);
      }
    }
    return this.#entries.next(writer, bytesTarget);
  }

  close(): void {
    this.#begun = true;
    this.#entries.close();
  }
}

export class DefinedSink implements SnapshotSink {
  readonly #service: string;
  readonly #tables: readonly string[];
  readonly #entries: SnapshotSink;
  readonly #input = new ByteQueue();
  /** Names still to come; -1 before the header. */
  #missing = -1;
  #read = 0;

  constructor(service: string, tables: readonly string[], entries: SnapshotSink) {
    this.#service = service;
    this.#tables = tables;
    this.#entries = entries;
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    if (this.#missing === 0) return this.#entries.write(bytes, start, end);
    const input = this.#input;
    input.push(bytes, start, end);
    if (this.#missing < 0) {
      if (!input.has(HEADER_BYTES)) return;
      this.#header();
    }
    while (this.#missing > 0) if (!this.#name()) return;
    this.#entries.write(input.bytes, input.at, input.at + input.size);
    input.at += input.size;
  }

  finish(): void {
    if (this.#missing !== 0) throw this.#damaged("it ends before its first entry");
    this.#entries.finish();
  }

  #header(): void {
    const { view, at } = this.#input;
    if (view.getUint32(at, true) !== MAGIC) throw this.#damaged("it does not begin as a snapshot of tables");
    const format = view.getUint32(at + 4, true);
    if (format !== FORMAT) throw this.#damaged(`its format is ${format}, this version reads ${FORMAT}`);
    const count = view.getUint32(at + 8, true);
    if (count < 1 || count > TABLES_MAX) throw this.#damaged(`it has ${count} tables`);
    this.#missing = count;
    this.#input.at += HEADER_BYTES;
  }

  /** Reads one name; false if it has not arrived. */
  #name(): boolean {
    const input = this.#input;
    if (!input.has(4)) return false;
    const length = input.view.getUint32(input.at, true);
    if (length < 1 || length > NAME_BYTES_MAX) throw this.#damaged(`the name of a table has ${length} bytes`);
    if (!input.has(4 + length)) return false;
    const name = latin1(input.bytes, input.at + 4, input.at + 4 + length);
    const own = this.#tables[this.#read];
    if (name !== own) {
      throw this.#damaged(
        `its table ${this.#read + 1} is ${name}, the service declares ${own ?? "none"} there; a new version of a ` +
          "service keeps the tables it has, in their order, and adds new ones behind them",
      );
    }
    input.at += 4 + length;
    this.#read++;
    this.#missing--;
    return true;
  }

  #damaged(reason: string): CheckpointDamagedError {
    return new CheckpointDamagedError(`the snapshot does not fit service ${this.#service}: ${reason}`);
  }
}
