import { isBuiltin } from "node:module";

/** Builtins that compute and nothing else. */
const PURE_BUILTINS: ReadonlySet<string> = new Set([
  "assert",
  "assert/strict",
  "buffer",
  "events",
  "path",
  "path/posix",
  "path/win32",
  "querystring",
  "string_decoder",
  "url",
  "util",
  "util/types",
]);

/** Why a service may not load the module of this name, or null. Only builtins of Node are refused. */
export function moduleRefusal(specifier: string): string | null {
  if (!isBuiltin(specifier)) return null;
  const name = specifier.replace(/^node:/, "");
  if (PURE_BUILTINS.has(name)) return null;
  return `node:${name}, which reaches outside of the service; pass in what it needs as an argument`;
}
