/** Every limit that docs/limits.md names stands in the source file it names, with the value it gives. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { plain, read, sourceTexts, tableRows } from "./markdown.js";

const page = "docs/limits.md";
const sources = sourceTexts();

/** "4 MiB", "10,000", "500 ms" or "10 min" as a number of bytes, pieces or ms. */
function documentedValue(cell: string): number {
  const match = /^([\d,]+)(?: (B|KiB|MiB|GiB|ms|s|min))?$/.exec(plain(cell));
  if (match === null) return NaN;
  const unit = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, ms: 1, s: 1000, min: 60_000 }[match[2] ?? "B"] ?? NaN;
  return Number(match[1]!.replaceAll(",", "")) * unit;
}

/** What stands behind `name =`, `name:` or `name ??` with a value, once a text; undefined if nothing does. */
function definition(name: string, source: string): string | undefined {
  const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
  const texts = [
    new RegExp(`\\bconst ${name}(?:: [A-Za-z]+)? =\\s*([^;?]+);`),
    new RegExp(`\\b${name}: ((?:\\d|[A-Z]|Ki|Mi)[\\w *+/().-]*),?$`, "m"),
    new RegExp(`\\.${name} \\?\\? ([^;]+);`),
  ];
  for (const pattern of texts) {
    const found = pattern.exec(code)?.[1];
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The value of a sum or product of numbers and constants of the sources. NaN for anything else. */
function valueOf(expression: string, from: string): number {
  const sum = /^(.+) ([+-]) ([^+-]+)$/.exec(expression);
  if (sum !== null) return valueOf(sum[1]!, from) + (sum[2] === "+" ? 1 : -1) * valueOf(sum[3]!, from);
  const product = /^(.+) \* ([^*]+)$/.exec(expression);
  if (product !== null) return valueOf(product[1]!, from) * valueOf(product[2]!, from);
  if (expression === "Number.MAX_SAFE_INTEGER") return Number.MAX_SAFE_INTEGER;
  if (/^[\d_]+$/.test(expression)) return Number(expression.replaceAll("_", ""));
  if (!/^[A-Za-z_]+$/.test(expression)) return NaN;
  // A constant of the file itself hides one of the same name elsewhere.
  for (const path of [from, ...sources.keys()]) {
    const found = definition(expression, sources.get(path) ?? "");
    if (found !== undefined) return valueOf(found, path);
  }
  return NaN;
}

/** Objections to a row `name | value | file | what happens`. */
function objections(row: readonly string[]): string[] {
  const [name = "", value = "", file = "", full = ""] = row.map(plain);
  const source = sources.get(file);
  if (source === undefined) return [`${name}: there is no ${file}`];
  const found = definition(name, source);
  if (found === undefined) return [`${file} does not define ${name}`];
  const actual = valueOf(found.trim(), file);
  const documented = documentedValue(value);
  return [
    ...(Object.is(actual, documented) && !Number.isNaN(actual) ? [] : [`${name} is ${found} in ${file}, not ${value}`]),
    ...(full.length < 10 ? [`${name}: nothing is said of what happens when it is full`] : []),
  ];
}

describe("docs/limits.md", () => {
  const rows = tableRows(read(page), "# Limits");

  test("names limits that exist, with their values", () => {
    assert.ok(rows.length > 50, `found ${rows.length} rows`);
    assert.deepEqual(rows.flatMap(objections), []);
  });

  test("names every maximum among the defaults of the configurations", () => {
    const named = new Set(rows.map(([name = "", , file = ""]) => `${plain(file)} ${plain(name)}`));
    const configurations = [...sources.keys()].filter((path) => /\/(?:config|options)\.ts$/.test(path));
    assert.ok(configurations.length >= 6);
    for (const path of configurations) {
      const maxima = [...sources.get(path)!.matchAll(/^ {2}(\w+Max): [\dA-Z]/gm)].map(([, name]) => `${path} ${name}`);
      assert.deepEqual(
        maxima.filter((name) => !named.has(name)),
        [],
      );
    }
  });

  test("is objected to when a name, a file or a value is wrong", () => {
    const file = "src/gateway/resp/config.ts";
    const told = "the next one is refused";
    assert.deepEqual(objections(["`connectionsMax`", "10,000", `\`${file}\``, told]), []);
    assert.match(objections(["connectionsMax", "10,001", file, told])[0] ?? "", /is 10_000/);
    assert.match(objections(["connectionsMax", "many", file, told])[0] ?? "", /not many/);
    assert.match(objections(["connectionMax", "10,000", file, told])[0] ?? "", /does not define/);
    assert.match(objections(["connectionsMax", "10,000", "src/config.ts", told])[0] ?? "", /there is no/);
    assert.match(objections(["connectionsMax", "10,000", file, "?"])[0] ?? "", /nothing is said/);
    // Sums, products, and constants of other files.
    assert.deepEqual(objections(["bulkBytesMax", "1028 KiB", file, told]), []);
    assert.deepEqual(objections(["sessionIdleMs", "10 min", "src/execution/replicated-state/config.ts", told]), []);
  });
});
