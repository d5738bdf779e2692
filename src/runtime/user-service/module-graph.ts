import * as nodeModule from "node:module";
import { createResolve, type ModuleGraphData } from "./module-graph-hooks.js";

/** `registerHooks` is of Node 22.15 and later; before that the hooks run in a thread of Node's. */
type RegisterHooks = (hooks: { resolve: ReturnType<typeof createResolve> }) => void;

/**
 * From now on refuses builtins that reach outside to the module of this URL and to everything it imports, however far
 * away; not to this package, which a service imports too and which does not run as part of it.
 */
export function refuseOutsideModules(url: string): void {
  const data: ModuleGraphData = { root: url };
  const { registerHooks } = nodeModule as { registerHooks?: RegisterHooks };
  if (registerHooks !== undefined) registerHooks({ resolve: createResolve(data) });
  else nodeModule.register("./module-graph-hooks.js", { parentURL: import.meta.url, data });
}
