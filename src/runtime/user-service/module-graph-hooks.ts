import { moduleRefusal } from "./module-refusal.js";

/**
 * The hooks that follow a service's imports. Loaded in the replica's thread, or by Node in a thread of its own (before Node
 * 22.15), which is why this file imports next to nothing.
 */
export interface ModuleGraphData {
  /** URL of the service's module. */
  readonly root: string;
}

interface Context {
  readonly parentURL?: string | undefined;
}

interface Resolved {
  readonly url: string;
}

type NextResolve = (specifier: string, context: Context) => Resolved | Promise<Resolved>;
type Resolve = (specifier: string, context: Context, next: NextResolve) => Resolved | Promise<Resolved>;

/** Modules of one service at most that are told from others; beyond it imports are no longer looked at. */
const MODULES_MAX = 100_000;

/** The `resolve` hook. It works with a `next` that answers at once as with one that promises. */
export function createResolve(data: ModuleGraphData): Resolve {
  const graph = new Set([data.root]);
  return (specifier, context, next) => {
    const { parentURL } = context;
    // This package does not become a part of the service by being imported.
    if (parentURL === undefined || !graph.has(parentURL) || /^synod(?:\/|$)/.test(specifier)) {
      return next(specifier, context);
    }
    const refusal = moduleRefusal(specifier);
    if (refusal !== null) throw new Error(`${parentURL} imports ${refusal}`);
    const add = (resolved: Resolved): Resolved => {
      if (graph.size < MODULES_MAX) graph.add(resolved.url);
      return resolved;
    };
    const resolved = next(specifier, context);
    return resolved instanceof Promise ? resolved.then(add) : add(resolved);
  };
}

let inThread: Resolve | null = null;

/** For `module.register`: called once, in Node's thread, with what was passed along. */
export function initialize(data: ModuleGraphData): void {
  inThread = createResolve(data);
}

/** For `module.register`. */
export function resolve(specifier: string, context: Context, next: NextResolve): Resolved | Promise<Resolved> {
  return inThread === null ? next(specifier, context) : inThread(specifier, context, next);
}
