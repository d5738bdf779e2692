/**
 * What the linearizability checker is compared with: the operations written down a second time, as a program that executes
 * them, a search that tries every order, and a maker of histories that are right by construction.
 */
import { Prng } from "#src/base/index.js";
import { type Operation, HistoryBuilder, type HistoryEvent } from "#src/sim/check/index.js";

export type State = ReadonlyMap<string, string>;

const int64 = 2n ** 63n;

/** Executes one operation as Redis does: its result and the state afterwards. */
export function execute(state: State, op: string, args: readonly unknown[]): { result: unknown; state: State } {
  const texts = args.map(String);
  const [key = "", value = ""] = texts;
  const old = state.get(key) ?? null;
  const with_ = (...pairs: [string, string | null][]): State => {
    const next = new Map(state);
    for (const [k, v] of pairs)
      if (v === null) next.delete(k);
      else next.set(k, v);
    return next;
  };
  const plus = (delta: bigint) => {
    const text = old ?? "0";
    if (!/^(0|-?[1-9]\d{0,18})$/.test(text))
      return { result: { error: "ERR value is not an integer or out of range" }, state };
    const sum = BigInt(text) + delta;
    if (sum >= int64 || sum < -int64) return { result: { error: "ERR increment or decrement would overflow" }, state };
    return { result: Number(sum), state: with_([key, String(sum)]) };
  };
  switch (op) {
    case "get":
      return { result: old, state };
    case "set": {
      const flags = texts.slice(2);
      const refused = (flags.includes("NX") && old !== null) || (flags.includes("XX") && old === null);
      const next = refused ? state : with_([key, value]);
      return { result: flags.includes("GET") ? old : refused ? null : "OK", state: next };
    }
    case "setnx":
      return old === null ? { result: 1, state: with_([key, value]) } : { result: 0, state };
    case "getset":
      return { result: old, state: with_([key, value]) };
    case "getdel":
      return { result: old, state: with_([key, null]) };
    case "del":
      return {
        result: new Set(texts.filter((k) => state.has(k))).size,
        state: with_(...texts.map((k) => [k, null] as [string, null])),
      };
    case "exists":
    case "touch":
      return { result: texts.filter((k) => state.has(k)).length, state };
    case "type":
      return { result: old === null ? "none" : "string", state };
    case "getrange": {
      const [first, last] = [Number(value), Number(texts[2])];
      const text = old ?? "";
      const from = first < 0 ? Math.max(0, text.length + first) : first;
      const to = last < 0 ? text.length + last : last;
      return { result: to < from ? "" : text.slice(from, to + 1), state };
    }
    case "setrange": {
      const piece = texts[2] as string;
      const text = (old ?? "").padEnd(Number(value), "\0");
      const written = text.slice(0, Number(value)) + piece + text.slice(Number(value) + piece.length);
      return { result: written.length, state: with_([key, written]) };
    }
    case "range": {
      const found = [...state]
        .filter(([k]) => k >= key && (value === "" || k <= value))
        .sort(([a], [b]) => (a < b ? -1 : 1));
      if (texts.includes("REV")) found.reverse();
      const limit = texts.includes("LIMIT") ? Number(texts[texts.indexOf("LIMIT") + 1]) : Infinity;
      return { result: found.slice(0, limit).flat(), state };
    }
    case "rangecount":
      return { result: [...state.keys()].filter((k) => k >= key && k <= value).length, state };
    case "delrange": {
      const doomed = [...state.keys()].filter((k) => k >= key && k <= value);
      return { result: doomed.length, state: with_(...doomed.map((k) => [k, null] as [string, null])) };
    }
    case "keys":
      return { result: [...state.keys()].sort(), state };
    case "dbsize":
      return { result: state.size, state };
    case "flushall":
      return { result: "OK", state: new Map() };
    case "exec": {
      let now = state;
      const results = (args as [string, ...unknown[]][]).map(([name, ...rest]) => {
        const done = execute(now, name, rest);
        now = done.state;
        return done.result;
      });
      return { result: results, state: now };
    }
    case "incr":
      return plus(1n);
    case "incrby":
      return plus(BigInt(value));
    case "decrby":
      return plus(-BigInt(value));
    case "append":
      return { result: (old ?? "").length + value.length, state: with_([key, (old ?? "") + value]) };
    case "strlen":
      return { result: (old ?? "").length, state };
    case "mget":
      return { result: texts.map((k) => state.get(k) ?? null), state };
    case "mset":
    case "msetnx": {
      const pairs = texts.flatMap((k, i) => (i % 2 === 0 ? [[k, texts[i + 1] as string] as [string, string]] : []));
      if (op === "mset") return { result: "OK", state: with_(...pairs) };
      return pairs.some(([k]) => state.has(k)) ? { result: 0, state } : { result: 1, state: with_(...pairs) };
    }
    default:
      throw new Error(`the oracle has no operation ${op}`);
  }
}

const same = (a: unknown, b: unknown): boolean => {
  const plain = (value: unknown): unknown => (typeof value === "number" ? String(value) : value);
  return JSON.stringify(plain(a)) === JSON.stringify(plain(b));
};

/** Tries every order of a few operations, directly by the definition. Null when there are too many orders to try. */
export function bruteForce(operations: readonly Operation[]): boolean | null {
  return explore(operations, () => true);
}

/** Every state that a few operations can end in, those of unknown outcome included or not. */
export function bruteForceStates(operations: readonly Operation[]): State[] {
  const found = new Map<string, State>();
  explore(operations, (state) => {
    found.set(nameOf(state), state);
    return false;
  });
  return [...found.values()];
}

function nameOf(state: State): string {
  return JSON.stringify([...state].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Of a random history nobody knows in advance how many there are. */
const VISITS_MAX = 50_000;

/** Visits the end of every order until `enough` says so, and tells whether it did; null when that took too many visits. */
function explore(operations: readonly Operation[], enough: (state: State) => boolean): boolean | null {
  const relevant = operations.filter((operation) => operation.outcome !== "fail");
  const precedes = (a: number, b: number): boolean => {
    const [first, second] = [relevant[a] as Operation, relevant[b] as Operation];
    if (first.outcome !== "ok") return false;
    if (first.completedNs < second.invokedNs) return true;
    return first.process === second.process && a < b && first.completedNs <= second.invokedNs;
  };
  const visited = new Set<string>();
  const visit = (left: readonly number[], state: State): boolean => {
    const name = `${left.join()} ${nameOf(state)}`;
    if (visited.has(name) || visited.size === VISITS_MAX) return false;
    visited.add(name);
    if (left.every((index) => (relevant[index] as Operation).outcome === "info") && enough(state)) return true;
    return left.some((index) => {
      if (left.some((other) => precedes(other, index))) return false;
      const operation = relevant[index] as Operation;
      const done = execute(state, operation.op, operation.args);
      // A part of a history may begin with removals of which only the effect matters.
      const told = operation.outcome === "ok" && !(operation.op === "del" && operation.result === null);
      if (told && !same(done.result, operation.result)) return false;
      return visit(
        left.filter((other) => other !== index),
        done.state,
      );
    });
  };
  const found = visit(
    relevant.map((_, index) => index),
    new Map(),
  );
  return found || visited.size < VISITS_MAX ? found : null;
}

export interface Shape {
  readonly processes: number;
  readonly operations: number;
  readonly keys: number;
  /** Different values written; more makes results tell more. */
  readonly values: number;
  readonly names: readonly string[];
  readonly infoChance: number;
  /** Longest pause and longest operation, in whole time units; small ones make times touch. */
  readonly timeMax: number;
}

/** A history of operations that each take effect at one random instant within their interval. */
export function linearizableHistory(seed: number, shape: Shape): readonly Operation[] {
  const prng = new Prng(seed);
  interface Planned {
    readonly process: string;
    readonly op: string;
    readonly args: readonly unknown[];
    readonly invoked: number;
    readonly completed: number;
    readonly outcome: "ok" | "info" | "fail";
    readonly effect: number;
    result: unknown;
  }
  const planned: Planned[] = [];
  const perProcess = Math.ceil(shape.operations / shape.processes);
  for (let process = 0; process < shape.processes; process++) {
    let time = prng.below(shape.timeMax + 1);
    let life = 0;
    for (let i = 0; i < perProcess && planned.length < shape.operations; i++) {
      const invoked = time;
      const completed = invoked + prng.below(shape.timeMax + 1);
      const outcome = prng.chance(shape.infoChance) ? "info" : prng.chance(0.03) ? "fail" : "ok";
      // An operation of unknown outcome takes effect soon, much later, or never.
      const late = prng.chance(0.3) ? Infinity : invoked + prng.float() * 10 * (shape.timeMax + 1);
      const within = invoked + prng.float() * (completed - invoked);
      const effect = outcome === "ok" ? within : outcome === "info" ? late : Infinity;
      const { op, args } = randomCall(prng, shape, planned.length);
      planned.push({ process: `p${process}.${life}`, op, args, invoked, completed, outcome, effect, result: null });
      if (outcome === "info") life++;
      time = completed + prng.below(shape.timeMax + 1);
    }
  }
  let state: State = new Map();
  for (const operation of [...planned].sort((a, b) => a.effect - b.effect)) {
    if (operation.effect === Infinity) continue;
    const done = execute(state, operation.op, operation.args);
    operation.result = done.result;
    state = done.state;
  }
  const builder = new HistoryBuilder();
  for (const { process, op, args, invoked, completed, outcome, result } of planned) {
    const invoke: HistoryEvent = { process, type: "invoke", op, args, tNs: invoked };
    builder.add(invoke);
    builder.add({ process, type: outcome, result, tNs: completed });
  }
  return builder.operations;
}

function randomCall(prng: Prng, shape: Shape, serial: number): { op: string; args: unknown[] } {
  const key = (): string => `k${prng.below(shape.keys)}`;
  const value = (): string => (shape.values >= 1000 ? `v${serial}` : String(prng.below(shape.values)));
  const op = prng.pick(shape.names);
  switch (op) {
    case "set": {
      const flags = prng.pick([[], [], [], ["NX"], ["XX"], ["GET"], ["NX", "GET"], ["XX", "GET"]]);
      return { op, args: [key(), value(), ...(shape.values >= 1000 && prng.chance(0.5) ? [] : flags)] };
    }
    case "write":
      return { op: "set", args: [key(), value()] };
    case "setnx":
    case "getset":
    case "append":
      return { op, args: [key(), value()] };
    case "incrby":
    case "decrby":
      return { op, args: [key(), String(1 + prng.below(3))] };
    case "mget":
    case "del":
    case "exists":
      return { op, args: prng.chance(0.5) ? [key()] : [key(), key()] };
    case "mset":
    case "msetnx":
      return { op, args: [key(), value(), key(), value()] };
    case "getrange":
      return { op, args: [key(), prng.pick([0, 1, -1]), prng.pick([0, 1, -1])] };
    case "setrange":
      return { op, args: [key(), prng.below(3), value()] };
    case "range": {
      const options = prng.pick([[], [], ["LIMIT", 1], ["LIMIT", 2, "REV"], ["REV"]]);
      return { op, args: ["k0", prng.chance(0.5) ? "" : key(), ...options] };
    }
    case "rangecount":
    case "delrange":
      return { op, args: ["k0", key()] };
    case "keys":
      return { op, args: ["k*"] };
    case "dbsize":
    case "flushall":
      return { op, args: [] };
    case "exec": {
      const names = ["get", "set", "getset", "append", "incr", "strlen"];
      const calls = [0, 1, 2].map(() => randomCall(prng, { ...shape, names }, serial));
      return { op, args: calls.map((call) => [call.op, ...call.args]) };
    }
    default:
      return { op, args: [key()] };
  }
}

/** The history with one result replaced by another that its operation can have; the same history if nothing has a result. */
export function mutated(operations: readonly Operation[], seed: number): readonly Operation[] {
  const prng = new Prng(seed);
  const answered = operations.flatMap((operation, index) => (operation.outcome === "ok" ? [index] : []));
  if (answered.length === 0) return operations;
  const at = prng.pick(answered);
  return operations.map((operation, index) => {
    if (index !== at) return operation;
    const same = operations.filter((other) => other.op === operation.op && other.outcome === "ok").map((o) => o.result);
    const { op, result } = operation;
    if (Array.isArray(result)) {
      if (result.length === 0) return { ...operation, result: op === "range" ? ["k0", "0"] : ["k0"] };
      const list = [...(result as unknown[])];
      if (op === "exec") {
        const reads = operation.args.flatMap((call, i) =>
          String((call as unknown[])[0]).startsWith("get") ? [i] : [],
        );
        if (reads.length > 0) list[prng.pick(reads)] = prng.pick([null, "0", "1"]);
        return { ...operation, result: list };
      }
      // A key or a pair less; in place of a value that is read another one.
      if (op === "keys") return { ...operation, result: list.slice(1) };
      if (op === "range" && prng.chance(0.5)) return { ...operation, result: list.slice(2) };
      if (op === "range") list[1] = "changed";
      if (op === "range") return { ...operation, result: list };
      list[prng.below(list.length)] = prng.pick([null, "0", "1"]);
      return { ...operation, result: list };
    }
    if (op === "flushall") return operation;
    if (op === "type") return { ...operation, result: result === "none" ? "string" : "none" };
    if (op === "getrange") return { ...operation, result: prng.pick(["", "0", "1", "v"]) };
    if (["touch", "rangecount", "delrange", "dbsize", "setrange"].includes(op)) {
      return { ...operation, result: Math.max(0, Number(result) + prng.pick([-1, 1])) };
    }
    if (["del", "exists", "append", "strlen", "incr", "incrby", "decrby", "setnx", "msetnx"].includes(op)) {
      if (typeof result !== "number") return operation;
      if (op === "setnx" || op === "msetnx") return { ...operation, result: 1 - result };
      return { ...operation, result: result + prng.pick([-1, 1, 2]) };
    }
    if (op === "set" && !operation.args.includes("GET")) {
      const conditional = operation.args.includes("NX") || operation.args.includes("XX");
      return conditional ? { ...operation, result: result === null ? "OK" : null } : operation;
    }
    if (op === "mset") return operation;
    return { ...operation, result: prng.pick([null, "0", "1", ...same.filter((r) => typeof r === "string")]) };
  });
}
