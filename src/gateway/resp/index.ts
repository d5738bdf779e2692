/**
 * The RESP gateway: unmodified Redis clients use the replicated `kv` store through it. It speaks RESP2 and RESP3 with the
 * words of Redis 7; every command is linearizable, and those of one connection take effect in the order sent.
 *
 * ```
 *  BytePort ─chunk→ RequestParser ─request→ command table ─┬→ local command ──────────────┐
 *                                                          └→ store command → BlockStream │
 *  BytePort ←bytes─ RESP encoding ←─ entries of a block ←── BlockClient ←──── per turn ←──┘
 * ```
 *
 * Reading order: `request.ts` (the parser), `command-table.ts` (one row per command), `store-command.ts`, `option.ts` and
 * `local-command.ts` (how each is executed), `transaction.ts` (what MULTI queues), `block-stream.ts` (which block a command
 * joins: the order rule), `group-streams.ts` (which stream, where there are groups: the same rule over several),
 * `block-slot.ts` (who gets its replies), `encoding.ts`, `gateway.ts` (all of it on a port). `config.ts` has the limits.
 *
 * A command that the cluster certainly did not apply is answered `-TRYAGAIN`; one that may have been applied,
 * `-INDETERMINATE`. A closed connection's commands in flight still execute.
 */
export { type CommandRow, commandRows } from "./command-table.js";
export { type RespLimits, respLimitDefaults } from "./config.js";
export { createRespGateway, type RespGateway, type RespGatewayInit, type RespGatewayStatus } from "./gateway.js";
export type { InfoFields } from "./server-info.js";
