/**
 * Commands whose arguments need more than copying: options in any order, arguments that change places, optional ones. Each
 * planner reads a request and says which operation flags it stands for and which of its arguments go where, or why it can't
 * be executed. What is refused here, in Redis too, is refused whatever the store holds.
 */
import { ExpireFlag, RangeFlag, ScanFlag, SetFlag } from "../../service/kv/index.js";
import { untilNul, wholeNumber } from "./local-command.js";
import { argumentIs, argumentText, type Request } from "./request.js";

/** Most arguments of a command that is planned. */
const SOURCES_MAX = 4;
/** Stands for the number of keys that a step of SCAN without COUNT asks for. */
export const DEFAULT_COUNT = -1;
/** Stands for the cursor with which a walk begins. */
export const BEGINNING = -2;
/** Longer texts are cursors too large in any case, unless they begin with many zeros. */
const CURSOR_LENGTH_MAX = 64;

/** What a planner found. One object is reused for all requests. */
export class Plan {
  /** The text of the error reply, or null. */
  error: string | null = null;
  /** In addition to those of the command's row. */
  flags = 0;
  count = 0;
  /** Argument i of the operation is argument `sources[i]` of the request, or what a negative number stands for. */
  readonly sources = new Int32Array(SOURCES_MAX);

  clear(): this {
    this.error = null;
    this.flags = 0;
    this.count = 0;
    return this;
  }

  take(source: number): this {
    this.sources[this.count++] = source;
    return this;
  }

  refuse(error: string): void {
    this.error = error;
  }
}

/** Fills in a cleared plan. */
export type Planner = (request: Request, plan: Plan) => void;

const SYNTAX = "ERR syntax error";
/** `absolute` and `seconds` of the four ways to say when a key expires. */
const EXPIRY_OPTIONS: readonly (readonly [string, number])[] = [
  ["EX", SetFlag.expires | SetFlag.seconds],
  ["PX", SetFlag.expires],
  ["EXAT", SetFlag.expires | SetFlag.seconds | SetFlag.absolute],
  ["PXAT", SetFlag.expires | SetFlag.absolute],
];
const EXPIRY_FLAGS = SetFlag.expires | SetFlag.seconds | SetFlag.absolute;

/**
 * Reads EX, PX, EXAT or PXAT at argument i and its number behind it. Returns the place of the number, 0 if there is no such
 * option, -1 if another one of them, or an option in `excluding`, is there already. As in Redis the same one may be repeated.
 */
function expiryOption(request: Request, i: number, plan: Plan, excluding: number): number {
  for (const [name, flags] of EXPIRY_OPTIONS) {
    if (!argumentIs(request, i, name)) continue;
    const other = (plan.flags & SetFlag.expires) !== 0 && (plan.flags & EXPIRY_FLAGS) !== flags;
    if (other || (plan.flags & excluding) !== 0 || i + 1 >= request.count) return -1;
    plan.flags |= flags;
    return i + 1;
  }
  return 0;
}

/** SET key value [NX|XX] [GET] [EX|PX|EXAT|PXAT number | KEEPTTL]. */
export const planSet: Planner = (request, plan) => {
  plan.take(1).take(2);
  let number = 0;
  for (let i = 3; i < request.count; i++) {
    if (argumentIs(request, i, "NX") && (plan.flags & SetFlag.onlyOld) === 0) plan.flags |= SetFlag.onlyNew;
    else if (argumentIs(request, i, "XX") && (plan.flags & SetFlag.onlyNew) === 0) plan.flags |= SetFlag.onlyOld;
    else if (argumentIs(request, i, "GET")) plan.flags |= SetFlag.returnOld;
    else if (argumentIs(request, i, "KEEPTTL") && (plan.flags & SetFlag.expires) === 0) {
      plan.flags |= SetFlag.keepExpiry;
    } else {
      const at = expiryOption(request, i, plan, SetFlag.keepExpiry);
      if (at <= 0) return plan.refuse(SYNTAX);
      number = at;
      i = at;
    }
  }
  if (number > 0) plan.take(number);
};

/** SETEX and PSETEX: key number value. The unit stands in the row. */
export const planSetExpiring: Planner = (_request, plan) => {
  plan.take(1).take(3).take(2);
};

/** GETEX key [EX|PX|EXAT|PXAT number | PERSIST]. */
export const planGetExpire: Planner = (request, plan) => {
  plan.take(1);
  let number = 0;
  for (let i = 2; i < request.count; i++) {
    if (argumentIs(request, i, "PERSIST") && (plan.flags & SetFlag.expires) === 0) {
      plan.flags |= SetFlag.persist;
    } else {
      const at = expiryOption(request, i, plan, SetFlag.persist);
      if (at <= 0) return plan.refuse(SYNTAX);
      number = at;
      i = at;
    }
  }
  if (number > 0) plan.take(number);
};

/** EXPIRE and its like: key number [NX | XX | GT | LT]…. Unit and origin stand in the row. */
export const planExpire: Planner = (request, plan) => {
  plan.take(1).take(2);
  for (let i = 3; i < request.count; i++) {
    if (argumentIs(request, i, "NX")) plan.flags |= ExpireFlag.onlyNew;
    else if (argumentIs(request, i, "XX")) plan.flags |= ExpireFlag.onlyOld;
    else if (argumentIs(request, i, "GT")) plan.flags |= ExpireFlag.later;
    else if (argumentIs(request, i, "LT")) plan.flags |= ExpireFlag.earlier;
    else return plan.refuse(`ERR Unsupported option ${untilNul(argumentText(request, i)).slice(0, 128)}`);
  }
  const { onlyNew, onlyOld, later, earlier } = ExpireFlag;
  if ((plan.flags & onlyNew) !== 0 && (plan.flags & (onlyOld | later | earlier)) !== 0) {
    plan.refuse("ERR NX and XX, GT or LT options at the same time are not compatible");
  } else if ((plan.flags & later) !== 0 && (plan.flags & earlier) !== 0) {
    plan.refuse("ERR GT and LT options at the same time are not compatible");
  }
};

/** SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]. The last of a repeated option counts. */
export const planScan: Planner = (request, plan) => {
  let count = DEFAULT_COUNT;
  let pattern = 0;
  let type = 0;
  const cursor = cursorSource(untilNul(argumentText(request, 1)).slice(0, CURSOR_LENGTH_MAX));
  if (cursor === null) return plan.refuse("ERR invalid cursor");
  for (let i = 2; i < request.count; i += 2) {
    if (i + 1 === request.count) return plan.refuse(SYNTAX);
    if (argumentIs(request, i, "MATCH")) pattern = i + 1;
    else if (argumentIs(request, i, "TYPE")) type = i + 1;
    else if (argumentIs(request, i, "COUNT")) {
      count = i + 1;
      const text = argumentText(request, count);
      // In its turn: a COUNT that is none is noticed before what stands behind it.
      if (Number.isNaN(wholeNumber(text))) return plan.refuse("ERR value is not an integer or out of range");
      if (text.startsWith("-") || text === "0") return plan.refuse(SYNTAX);
    } else {
      return plan.refuse(SYNTAX);
    }
  }
  plan.take(cursor).take(count);
  if (pattern > 0) {
    plan.flags |= ScanFlag.pattern;
    plan.take(pattern);
  }
  if (type > 0) {
    plan.flags |= ScanFlag.type;
    plan.take(type);
  }
};

const UINT64_MAX = 2n ** 64n - 1n;

/**
 * Which argument the cursor is: number 1 if it may be one of ours. Redis also takes signs, zeros in front and nothing at all;
 * nobody has got such a cursor from us, so the walk begins anew. Null for what Redis refuses.
 */
function cursorSource(text: string): number | null {
  if (/^(?:0|[1-9][0-9]{0,17})$/.test(text)) return 1;
  const digits = /^[+-]?([0-9]+)$/.exec(text)?.[1];
  if (text !== "" && digits === undefined) return null;
  return BigInt(digits ?? 0) > UINT64_MAX ? null : BEGINNING;
}

/** RANGE from to [LIMIT number] [REV]. */
export const planRange: Planner = (request, plan) => planLimited(request, plan, true);

/** DELRANGE from to [LIMIT number]. */
export const planRangeDelete: Planner = (request, plan) => planLimited(request, plan, false);

function planLimited(request: Request, plan: Plan, reversible: boolean): void {
  plan.take(1).take(2);
  let limit = 0;
  for (let i = 3; i < request.count; i++) {
    if (reversible && argumentIs(request, i, "REV")) plan.flags |= RangeFlag.reverse;
    else if (argumentIs(request, i, "LIMIT") && i + 1 < request.count) limit = ++i;
    else return plan.refuse(SYNTAX);
  }
  if (limit > 0) {
    plan.flags |= RangeFlag.limit;
    plan.take(limit);
  }
}

/** FLUSHALL and FLUSHDB [ASYNC | SYNC]: emptying the store is over at once in any case. */
export const planClear: Planner = (request, plan) => {
  const plain = request.count === 1;
  const known = request.count === 2 && (argumentIs(request, 1, "ASYNC") || argumentIs(request, 1, "SYNC"));
  if (!plain && !known) plan.refuse(SYNTAX);
};
