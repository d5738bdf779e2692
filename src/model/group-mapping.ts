// Hot file: the groups of every command are asked for by clients, and again by the threads of every replica. No allocation.
import { assert } from "../base/index.js";
import type { Run, Service } from "./service.js";

/** Most groups beside g_all: a set of them is a mask of 31 bits, bit i for the group whose stream is i + 1. */
export const MAPPED_GROUPS_MAX = 31;

/** The mask of a command that may run in any one group, whichever its sender picks. */
export const ANY_GROUP = 0x80000000;

/**
 * Which groups a command concerns (C-G of P-SMR, PROTOCOLS section 4.4): two commands that depend on each other have a group
 * in common. Client and replicas use the same one: the client to choose the stream of a block, the replicas to refuse blocks
 * that came through another.
 */
export interface GroupMapping {
  readonly groups: number;
  /** Sets `masks[i]` for each command of a run: the groups it concerns, or `ANY_GROUP`. Never 0. */
  masks(run: Run, masks: Uint32Array): void;
}

/** As the service says: by keys, whose ranges or hashes belong to groups. */
export function declaredMapping(service: Service, groups: number): GroupMapping {
  checkGroups(groups);
  return { groups, masks: (run, masks) => service.groups(run, 0, masks) };
}

/** The optimistic one of a service (OC-G of opt-PSMR): by static dependencies only. */
export function optimisticMapping(service: Service, groups: number): GroupMapping {
  checkGroups(groups);
  return { groups, masks: (run, masks) => service.groups(run, 1, masks) };
}

/** The coarse one, for services that know no keys: reads to any one group, all else to all of them. */
export function coarseMapping(service: Service, groups: number): GroupMapping {
  checkGroups(groups);
  const all = maskOfAll(groups);
  return {
    groups,
    masks: (run, masks) => {
      for (let i = 0; i < run.count; i++) {
        masks[i] = service.isRead(run.view, run.offsets[i] as number) ? ANY_GROUP : all;
      }
    },
  };
}

/** The mask of all groups. */
export function maskOfAll(groups: number): number {
  return 0x7fffffff >>> (MAPPED_GROUPS_MAX - groups);
}

/** The groups that a block of commands with these masks concerns together; with no particular one, the first. */
export function unionOf(masks: Uint32Array, count: number): number {
  let union = 0;
  for (let i = 0; i < count; i++) union |= masks[i] as number;
  const named = union & 0x7fffffff;
  return named === 0 ? 1 : named;
}

/** Whether each command with these masks may run in the group of bit `group` without the other groups. */
export function runIn(group: number, masks: Uint32Array, count: number): boolean {
  const own = 1 << group;
  for (let i = 0; i < count; i++) {
    const mask = masks[i] as number;
    if (mask !== own && mask !== ANY_GROUP) return false;
  }
  return true;
}

/**
 * The stream for a block of commands with these masks: i + 1 for group i if they all may run there, else 0 for g_all. `pick`
 * is any whole number from 0 on, by which blocks that may run anywhere are spread.
 */
export function streamFor(masks: Uint32Array, count: number, groups: number, pick: number): number {
  let named = 0;
  for (let i = 0; i < count; i++) {
    const mask = masks[i] as number;
    if (mask === ANY_GROUP) continue;
    if ((mask & (mask - 1)) !== 0 || (named !== 0 && named !== mask)) return 0;
    named = mask;
  }
  return named === 0 ? (pick % groups) + 1 : 32 - Math.clz32(named);
}

function checkGroups(groups: number): void {
  assert(Number.isInteger(groups) && groups >= 1 && groups <= MAPPED_GROUPS_MAX, `1 to 31 groups, got ${groups}`);
}
