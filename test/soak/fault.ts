/**
 * What a nemesis does to a cluster, and undoes before the next: a fault resolves when every replica is ready again, to false if
 * it found nothing to strike.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Prng } from "#src/base/index.js";
import { delay } from "./delay.js";
import { Machines } from "./machines.js";
import type { Members } from "./members.js";

export interface FaultScene {
  readonly members: Members;
  readonly victim: number;
  readonly prng: Prng;
  /** How long it lasts, in ms. */
  readonly pauseMs: number;
}

export interface Fault {
  /** Needs machines of their own. */
  readonly machines?: true;
  strike(scene: FaultScene): Promise<void | false>;
}

/** Bits that are flipped at once. */
const FLIPS_MAX = 4;
/** Places that are looked at for one that is in use: most of a log's file may be zeros. */
const PLACES_MAX = 10_000;
/** How long a replica may go on with a full disk before it needs room. */
const FULL_MS = 6000;
const DISK_FULL_EXIT = 10;

export const faults = {
  /** kill -9 of one replica. */
  kill: {
    async strike({ members, victim, pauseMs }) {
      await members.kill(victim);
      await delay(pauseMs);
      await members.restart(victim);
    },
  },
  "kill all": {
    async strike({ members, pauseMs }) {
      await Promise.all(members.ids.map((id) => members.kill(id)));
      await delay(pauseMs / 4);
      await Promise.all(members.ids.map((id) => members.restart(id)));
    },
  },
  /** SIGSTOP, then SIGCONT. */
  stop: {
    async strike({ members, victim, pauseMs }) {
      members.stop(victim);
      await delay(pauseMs);
      members.continue(victim);
    },
  },
  /** A replica loses its whole directory. */
  empty: {
    async strike({ members, victim, pauseMs }) {
      await members.kill(victim);
      rmSync(members.home(victim), { recursive: true });
      await delay(pauseMs);
      await members.restart(victim);
    },
  },
  /** Bits flip in the log of a replica while it is down. */
  "damage log": {
    async strike({ members, victim, prng }) {
      await members.kill(victim);
      const struck = flipBits(join(partOf(members.home(victim), prng), "log"), prng);
      await members.restart(victim);
      return struck ? undefined : false;
    },
  },
  /** Bits flip in the checkpoints of a replica while it is down. */
  "damage checkpoint": {
    async strike({ members, victim, prng }) {
      await members.kill(victim);
      const struck = flipBits(join(members.home(victim), "checkpoint"), prng);
      await members.restart(victim);
      return struck ? undefined : false;
    },
  },
  /** A replica loses all its checkpoints and keeps a log that begins after them. */
  "lose checkpoints": {
    async strike({ members, victim }) {
      await members.kill(victim);
      const directory = join(members.home(victim), "checkpoint");
      const struck = existsSync(directory) && readdirSync(directory).length > 0;
      rmSync(directory, { recursive: true, force: true });
      await members.restart(victim);
      return struck ? undefined : false;
    },
  },
  /** A bit flips in the file that says who a replica is and what it may have forgotten. */
  "damage identity": {
    async strike({ members, victim, prng }) {
      await members.kill(victim);
      const path = join(partOf(members.home(victim), prng), "identity");
      const bytes = readFileSync(path);
      // Not in the number of the format: a newer one is refused, and rightly so.
      const at = bytes.indexOf('"clusterId"') + prng.below(bytes.length - bytes.indexOf('"clusterId"'));
      bytes[at] = (bytes[at] as number) ^ (1 << prng.below(8));
      writeFileSync(path, bytes);
      await members.restart(victim);
    },
  },
  /** A replica loses its log and keeps its identity. */
  "lose log": {
    async strike({ members, victim, prng }) {
      await members.kill(victim);
      rmSync(join(partOf(members.home(victim), prng), "log"), { recursive: true });
      await members.restart(victim);
    },
  },
  /** No packet passes between one replica and the others. */
  isolate: {
    machines: true,
    async strike({ members, victim, pauseMs }) {
      const machines = machinesOf(members);
      for (const id of others(members, victim)) {
        machines.drop(victim, id);
        machines.drop(id, victim);
      }
      await delay(pauseMs);
      machines.mend();
    },
  },
  /** One replica gets nothing from the others, who get what it sends. */
  deafen: {
    machines: true,
    async strike({ members, victim, pauseMs }) {
      const machines = machinesOf(members);
      for (const id of others(members, victim)) machines.drop(victim, id);
      await delay(pauseMs);
      machines.mend();
    },
  },
  /** Two replicas don't reach each other; both reach the third. */
  divide: {
    machines: true,
    async strike({ members, victim, prng, pauseMs }) {
      const machines = machinesOf(members);
      const other = prng.pick(others(members, victim));
      machines.drop(victim, other);
      machines.drop(other, victim);
      await delay(pauseMs);
      machines.mend();
    },
  },
  /** A share of all packets between replicas is lost. */
  lose: {
    machines: true,
    async strike({ members, prng, pauseMs }) {
      const machines = machinesOf(members);
      const share = prng.between(0.05, 0.3);
      for (const id of members.ids) for (const from of others(members, id)) machines.drop(id, from, share);
      await delay(pauseMs);
      machines.mend();
    },
  },
  /** No room is left on the disk of one replica: it goes on with the room it has, or stops and says so. */
  "fill disk": {
    machines: true,
    async strike({ members, victim }) {
      const code = await machinesOf(members).fillDisk(victim, FULL_MS);
      if (code === null) return;
      assert.equal(code, DISK_FULL_EXIT, `replica ${victim} stops for a full disk and says so`);
      await members.restart(victim);
    },
  },
  /** One machine loses what was not synced. */
  "cut power": {
    machines: true,
    async strike({ members, victim, pauseMs }) {
      await machinesOf(members).cutPower([victim]);
      await delay(pauseMs / 4);
      await members.restart(victim);
    },
  },
  /** All machines lose what was not synced, at one moment. */
  "cut all power": {
    machines: true,
    async strike({ members }) {
      await machinesOf(members).cutPower(members.ids);
      await Promise.all(members.ids.map((id) => members.restart(id)));
    },
  },
} as const satisfies Readonly<Record<string, Fault>>;

export type FaultKind = keyof typeof faults;
export const faultKinds = Object.keys(faults) as FaultKind[];
export const needsMachines = (kind: FaultKind): boolean => (faults[kind] as Fault).machines === true;

/** Where a replica has a log and an identity: of one with several groups, one of its members. */
function partOf(home: string, prng: Prng): string {
  const parts = readdirSync(home).filter((name) => name.startsWith("group-"));
  return parts.length === 0 ? home : join(home, prng.pick(parts));
}

function machinesOf(members: Members): Machines {
  assert(members instanceof Machines, "this fault needs machines");
  return members;
}

const others = (members: Members, id: number): number[] => members.ids.filter((other) => other !== id);

/**
 * Flips a few bits of one file of a directory, where it is not zero: what has never been written can't be damaged. False if
 * there is nothing.
 */
function flipBits(directory: string, prng: Prng): boolean {
  const names = existsSync(directory) ? readdirSync(directory).filter((name) => !name.startsWith("spare-")) : [];
  if (names.length === 0) return false;
  const path = join(directory, prng.pick(names.sort()));
  const bytes = readFileSync(path);
  const wanted = 1 + prng.below(FLIPS_MAX);
  let flips = wanted;
  for (let place = 0; place < PLACES_MAX && flips > 0 && bytes.length > 0; place++) {
    const at = prng.below(bytes.length);
    if (bytes[at] === 0) continue;
    bytes[at] = (bytes[at] as number) ^ (1 << prng.below(8));
    flips--;
  }
  writeFileSync(path, bytes);
  return flips < wanted;
}
