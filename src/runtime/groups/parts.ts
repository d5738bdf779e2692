import { assert, MiB } from "../../base/index.js";
import { createPsmrParts } from "../../execution/index.js";
import { GROUPS_CONFIGURED_MAX } from "../../model/index.js";
import { createRingMemory } from "../../platform/index.js";
import type { MemberParts } from "./api.js";
import { Board } from "./board.js";

/** Bytes of each ring between members unless said otherwise; what does not fit waits at its sender. */
export const MEMBER_RING_BYTES = 4 * MiB;

/** New parts for one life of a replica with so many groups, at least 2. `ringBytes` is a power of two, at least 64 KiB. */
export function createMemberParts(groups: number, ringBytes = MEMBER_RING_BYTES): MemberParts {
  assert(groups >= 2 && groups <= GROUPS_CONFIGURED_MAX, `2 to ${GROUPS_CONFIGURED_MAX} groups, got ${groups}`);
  assert(ringBytes >= 65_536, `rings of members have at least 64 KiB, got ${ringBytes} bytes`);
  const rings = (count: number): SharedArrayBuffer[] =>
    Array.from({ length: count }, () => createRingMemory(ringBytes));
  return {
    groups,
    board: new SharedArrayBuffer(Board.bytesFor(groups + 1)),
    decisions: rings(groups),
    answers: rings(groups),
    cuts: rings(groups - 1),
    psmr: createPsmrParts(groups),
  };
}
