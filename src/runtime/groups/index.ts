/**
 * groups: the members of a replica that has several groups. Each drives the ordering of one stream; those of a group execute as well,
 * as the threads of P-SMR, and all of them meet in memory that they share.
 */
export * from "./api.js";
export { type BellsPart, createBellsParts, ThreadBells } from "./thread-bells.js";
export { createMember, mappingsOf, SKIPS } from "./member.js";
export { createMemberParts, MEMBER_RING_BYTES } from "./parts.js";
