import type { Prng } from "../../base/index.js";
import { BtreeOperation } from "../../service/index.js";
import type { WorkloadScenario } from "../scenario/index.js";
import { BtreeCommand, done, FillCommand, keyOf, LIVES_MAX, RangeCommand, readKey, SPACING } from "./btree-commands.js";
import { type CommandSource, KeyNames, type SimCommand } from "./command.js";

/** Share of commands that no history records: they make leaves overflow and underflow around the keys that it does. */
const FILLING = 0.6;
/** Commands of filling after which parts that grow begin to shrink, and the others to grow; before that all grow. */
const PHASE = 100;
const FIRST_PHASE = 400;
/** Share of inserts in it, while it grows; while it shrinks so many are deletes. */
const INSERTS = 0.85;
/** Keys of filling in each part: so few that most deletes find one, and so many that parts have leaves of their own. */
const FILLING_KEYS = 120;
/** A client goes on to another part of the keys this often: the commands of a block mostly belong to one group. */
const LEAVES_PLACE = 0.15;
/** Of the ranges of the history, which are looked for in few worlds; and of those that nobody but the replicas' checkers sees. */
const RANGES = 0.3;
const UNRECORDED_RANGES = 0.2;

/**
 * Commands of `btree` for opt-PSMR: single-key ones that mostly stay in one group, over a tree of a few leaves that grows and shrinks, of
 * which one or two lie across each bound. So commands fail their safety check for every reason there is, and pass it too.
 */
export class BoundedBtreeCommands implements CommandSource {
  readonly #scenario: WorkloadScenario;
  readonly #names: KeyNames;
  readonly #places: number;
  readonly #joint: boolean;
  #values = 0;
  #filled = 0;
  /** By client: the part of the keys in which it is. */
  readonly #placeOf = new Map<string, number>();

  constructor(scenario: WorkloadScenario, groups: number) {
    this.#scenario = scenario;
    this.#names = new KeyNames("b", scenario.keys);
    this.#places = 2 * groups;
    this.#joint = scenario.clients * scenario.lanes * scenario.blockCommandsMax <= 6;
  }

  next(prng: Prng, client: string): SimCommand {
    const place = this.#place(prng, client);
    if (prng.chance(FILLING)) return this.#fill(prng, place);
    const name = this.#pick(prng, place);
    if (prng.chance(this.#scenario.reads)) return this.#read(prng, name);
    const value = ++this.#values;
    switch (prng.below(4)) {
      case 0:
        return new BtreeCommand("set", [name, value, "XX"], BtreeOperation.update, value, (view, at) =>
          done(view, at) === 1 ? "OK" : null,
        );
      case 1:
        return new BtreeCommand("del", [name], BtreeOperation.delete, 0, done);
      default:
        return new BtreeCommand("setnx", [name, value], BtreeOperation.insert, value, done);
    }
  }

  onUnknown({ read, args }: SimCommand): void {
    if (!read) this.#names.noteUnknown(String(args[0]));
  }

  finalReads(): SimCommand[] {
    return this.#names.all.map(readKey);
  }

  #place(prng: Prng, client: string): number {
    const known = this.#placeOf.get(client);
    if (known !== undefined && !prng.chance(LEAVES_PLACE)) return known;
    const place = prng.below(this.#places);
    this.#placeOf.set(client, place);
    return place;
  }

  /** A key of the history, if there is one in this part; else any. */
  #pick(prng: Prng, place: number): string {
    const slots = slotsOf(this.#scenario);
    const here = this.#names.current.filter(
      (name) => Math.floor((keyOf(name) / SPACING / slots) * this.#places) === place,
    );
    return here.length === 0 ? this.#names.pick(prng) : prng.pick(here);
  }

  #read(prng: Prng, name: string): SimCommand {
    if (!prng.chance(RANGES)) return readKey(name);
    const other = this.#names.pick(prng);
    const [low, high] = keyOf(name) <= keyOf(other) ? [name, other] : [other, name];
    if (!this.#joint) return prng.chance(UNRECORDED_RANGES) ? new Unrecorded(keyOf(low), keyOf(high)) : readKey(name);
    return new RangeCommand(
      this.#names.current.filter((key) => keyOf(key) >= keyOf(low) && keyOf(key) <= keyOf(high)),
      keyOf(low),
      keyOf(high),
    );
  }

  #fill(prng: Prng, place: number): SimCommand {
    const slots = slotsOf(this.#scenario);
    const slot = Math.floor(((place + prng.below(FILLING_KEYS) / FILLING_KEYS) / this.#places) * slots);
    const since = this.#filled++ - FIRST_PHASE;
    const grows = since < 0 || (Math.floor(since / PHASE) + place) % 2 === 1;
    const inserts = grows ? INSERTS : 1 - INSERTS;
    return new FillCommand(slot * SPACING + 1, prng.chance(inserts) ? BtreeOperation.insert : BtreeOperation.delete);
  }
}

/** The last name that a key of the history can have lies below this, times the spacing of keys. */
function slotsOf({ keys }: WorkloadScenario): number {
  return (keys + 1) * LIVES_MAX;
}

/** Where the key space of such a load is cut, one number fewer than groups. */
export function btreeBounds(scenario: WorkloadScenario, groups: number): number[] {
  const end = slotsOf(scenario) * SPACING;
  return Array.from({ length: groups - 1 }, (_, index) => Math.floor((end * (index + 1)) / groups));
}

/** A range that the history does not hold: too much would hang together in it. */
class Unrecorded extends RangeCommand {
  override readonly op = null;

  constructor(low: number, high: number) {
    super([], low, high);
  }
}
