/**
 * The tidy rules: pure functions over a path and a text that return what they object to, one sentence each. Paths are
 * relative to the repository and use forward slashes.
 */

import { posix } from "node:path";
import { below, comparers, entrances, families, pure, registry, shared } from "./layers.js";
import { importsOf, lineOf, strip } from "./source.js";

/** The folder of src/ that a path lies in, or "" for a file directly in src/. */
export function folderOf(path: string): string {
  const parts = path.split("/");
  return parts.length > 2 ? (parts[1] ?? "") : "";
}

/** The first two folders of a path within a family: "ordering/raft"; or "" if it lies in no sub-folder. */
function siblingOf(path: string): string {
  const parts = path.split("/");
  return parts.length > 3 && families.has(parts[1] ?? "") ? `${parts[1]}/${parts[2]}` : "";
}

/**
 * Imports of a file of src/: downward by the layer table, through doors only, never between siblings; packages only if
 * users of the library have them installed too, and none at all in a pure folder.
 */
export function importViolations(path: string, text: string, dependencies: ReadonlySet<string>): string[] {
  const folder = folderOf(path);
  const allowed = below.get(folder);
  if (allowed === undefined) return [`${path}: the folder "${folder}" has no row in the layer table`];
  const objections: string[] = [];
  for (const { line, from } of importsOf(text)) {
    const object = (reason: string): number => objections.push(`${path}:${line}: ${reason}`);
    if (from === null) {
      if (pure.has(folder)) object("a pure folder imports nothing dynamically");
    } else if (from.startsWith(".")) {
      const target = posix.join(posix.dirname(path), from);
      const reason = relativeImportObjection(path, target);
      if (reason !== null) object(`${reason} ("${from}")`);
    } else if (pure.has(folder)) {
      object(`a pure folder imports no package and no builtin ("${from}")`);
    } else if (!from.startsWith("node:")) {
      const name = from
        .split("/")
        .slice(0, from.startsWith("@") ? 2 : 1)
        .join("/");
      if (!dependencies.has(name)) object(`"${name}" is not among the dependencies; builtins are written "node:…"`);
    }
  }
  return objections;
}

function relativeImportObjection(path: string, target: string): string | null {
  if (!target.startsWith("src/")) return "src/ imports nothing outside src/";
  const [here, there] = [folderOf(path), folderOf(target)];
  const [ownSibling, otherSibling] = [siblingOf(path), siblingOf(target)];
  const isDoor = posix.basename(target) === "index.js";
  if (here === there) {
    if (ownSibling === otherSibling) return null;
    if (otherSibling === "") return "a sibling does not import the folder around it";
    if (target !== `src/${otherSibling}/index.js`) return "a sub-folder is entered through its door, index.js";
    if (ownSibling === "" && path === `src/${here}/index.ts`) return null;
    return shared.has(otherSibling) ? null : "siblings never import each other";
  }
  if (!(below.get(here) ?? []).includes(there)) return `"${here}" may not import "${there}"`;
  if (!isDoor) return "another folder is entered through its door, index.js";
  if (target === `src/${there}/index.js`) return null;
  if (entrances.has(posix.dirname(target).slice("src/".length))) return null;
  if (otherSibling === "" || target !== `src/${otherSibling}/index.js`) return "that folder's inner doors are its own";
  // Gateways and hosts speak for one service or client model by its name; protocols and models stay interchangeable.
  if (there === "service" || there === "client" || shared.has(otherSibling)) return null;
  return path === registry || comparers.has(here) ? null : `only ${registry} and the lab name siblings`;
}

/** References of a TypeScript project in src/: they may not allow what the layer table forbids, nor lack a row of it. */
export function referenceViolations(folder: string, references: readonly string[]): string[] {
  const allowed = below.get(folder);
  if (allowed === undefined) return [`src/${folder}: the folder has no row in the layer table`];
  const named = references.map((reference) => reference.replace("../", ""));
  return [
    ...named
      .filter((name) => !allowed.includes(name))
      .map((name) => `src/${folder}/tsconfig.json: references "${name}", which the layer table forbids`),
    ...allowed
      .filter((name) => !named.includes(name))
      .map((name) => `src/${folder}/tsconfig.json: does not reference "${name}", which the layer table allows`),
  ];
}

const clocks = "Date|performance|set(?:Timeout|Interval|Immediate)|clear(?:Timeout|Interval|Immediate)|queueMicrotask";
const outside = "console|process|Buffer|fetch|crypto|require|globalThis|eval|Function|WebAssembly";
const unsteady = "Intl|WeakRef|FinalizationRegistry";
/** A global by its bare name: no property after a point (three points are a spread), and no key before a colon. */
const impureGlobal = new RegExp(
  `(?<![\\w$#]|(?<!\\.\\.)\\.)(?:${clocks}|${outside}|${unsteady})(?![\\w$])(?!(?<=[{,;(\\n]\\s*(?:readonly\\s+)?\\w+)\\??\\s*:)`,
  "g",
);
/** The functions of Math whose results the language leaves to the engine, or to chance. Math.sqrt is exact. */
const inexactMath =
  /\bMath\s*\??\.\s*(?:random|pow|expm1|exp|log2|log10|log1p|log|a?sinh?|a?cosh?|a?tanh?|atan2|cbrt|hypot)\b/g;
const hiddenMath = /(?<![\w$.])Math\b(?!\s*\??\.)/g;
const power = /\*\*/g;
const literalPower = /(?:^|[^\w$.)\]])\d[\d_]*n?\s*$/;
const blocking = /\bAtomics\s*\??\.\s*wait\b/g;
const localeBound = /\.\s*(?:localeCompare|toLocale\w*)\b/g;

/** What a pure folder may not name, since it would tell the replicas' runs apart or hide an effect. */
export function purityViolations(path: string, text: string): string[] {
  if (!pure.has(folderOf(path))) return [];
  const code = strip(text);
  const objections: string[] = [];
  const report = (pattern: RegExp, reason: string): void => {
    for (const match of code.matchAll(pattern)) {
      if (
        pattern === power &&
        literalPower.test(code.slice(0, match.index)) &&
        /^\*\*\s*\d/.test(code.slice(match.index))
      )
        continue;
      objections.push(`${path}:${lineOf(code, match.index)}: ${reason} (${match[0].trim()})`);
    }
  };
  report(impureGlobal, "a pure folder has no clock, IO, locale or way around its types");
  report(inexactMath, "the result depends on the engine or on chance");
  report(hiddenMath, "Math is used by property, so that its functions can be checked");
  report(power, "a power of anything but two whole literals depends on the engine");
  report(blocking, "a pure folder never blocks");
  report(localeBound, "the result depends on the engine's locale data");
  for (const { line, from } of importsOf(text)) {
    if (from?.startsWith("node:") === true)
      objections.push(`${path}:${line}: a pure folder imports no builtin (${from})`);
  }
  return objections;
}

/** A door begins with a docstring of at least one sentence. `text` is undefined if the folder has no index.ts. */
export function doorViolations(folder: string, text: string | undefined): string[] {
  if (text === undefined) return [`${folder}: has no door, index.ts`];
  const docstring = /^\s*\/\*\*([\s\S]*?)\*\//.exec(text)?.[1] ?? "";
  const words = docstring.replace(/^\s*\*/gm, "").trim();
  return /[A-Z`][\s\S]{10,}[.:]/.test(words)
    ? []
    : [`${folder}/index.ts: does not begin with a docstring of a sentence`];
}

const kebab = /^\.?[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*$/;
const nounless = /^(?:(?:.*-)?(?:utils?|helpers?|managers?|impls?)|commons?|misc|stuff)$/;

/** Names of files and folders: kebab-case, and a noun that says what is inside. */
export function nameViolations(path: string): string[] {
  return path
    .split("/")
    .flatMap((part) => [
      ...(kebab.test(part) ? [] : [`${path}: "${part}" is not kebab-case`]),
      ...(nounless.test(part.split(".")[0] ?? "") ? [`${path}: "${part}" says nothing about what is inside`] : []),
    ]);
}

/** Text that holds only on one machine: homes and checkouts of people, and package registries. */
export function machineViolations(path: string, text: string): string[] {
  const objections: string[] = [];
  for (const match of text.matchAll(/(?<![\w.\-}>])\/(?:home|root|Users|work|workspace)\/[\w.-]+/g)) {
    objections.push(`${path}:${lineOf(text, match.index)}: names a path of one machine (${match[0]})`);
  }
  for (const match of text.matchAll(/https?:\/\/[^\s"'`/]*(?:registry|npmjs)[^\s"'`/]*/g)) {
    objections.push(`${path}:${lineOf(text, match.index)}: names a package registry (${match[0]})`);
  }
  return objections;
}

/** A lock file without download addresses and without packages that run a script when they are installed. */
export function lockViolations(path: string, text: string): string[] {
  const lock = JSON.parse(text) as { packages: Record<string, { resolved?: string; hasInstallScript?: boolean }> };
  return Object.entries(lock.packages).flatMap(([name, entry]) => [
    ...(entry.resolved === undefined ? [] : [`${path}: "${name}" records a download address ("resolved")`]),
    ...(entry.hasInstallScript === true ? [`${path}: "${name}" has an install script`] : []),
  ]);
}

/** Every target of the exports map and of `bin` is a file; `exists` answers for a path relative to the package. */
export function exportsViolations(path: string, text: string, exists: (file: string) => boolean): string[] {
  const manifest = JSON.parse(text) as {
    bin: Record<string, string>;
    exports: Record<string, string | Record<string, string>>;
  };
  const targets = Object.entries({ ...manifest.exports, ...manifest.bin }).flatMap(([subpath, target]) =>
    (typeof target === "string" ? [target] : Object.values(target)).map((file) => ({ subpath, file })),
  );
  if (targets.length === 0) return [`${path}: exports nothing`];
  return targets
    .filter(({ file }) => !exists(file))
    .map(({ subpath, file }) => `${path}: "${subpath}" names ${file}, which is not there`);
}
