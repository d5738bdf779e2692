/** Reads what the tests of the documentation need out of Markdown files and source texts. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository, seen from dist/test/docs/. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");

export const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** Files below a folder that end so, as sorted paths relative to the repository. */
export function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`)
    .sort();
}

/** Every source file's text by its path. */
export function sourceTexts(): ReadonlyMap<string, string> {
  return new Map(filesBelow("src", ".ts").map((path) => [path, read(path)]));
}

/** The cells of the rows of every table between `heading` and the next heading that is no deeper; header rows left out. */
export function tableRows(text: string, heading: string): string[][] {
  const lines = text.split("\n");
  const start = lines.indexOf(heading);
  if (start < 0) throw new Error(`there is no heading "${heading}"`);
  const depth = heading.search(/[^#]/);
  const rows: string[][] = [];
  let header = true;
  for (const line of lines.slice(start + 1)) {
    const marks = /^#+(?= )/.exec(line)?.[0].length ?? Infinity;
    if (marks <= depth) break;
    if (!line.startsWith("|")) header = true;
    else if (/^\|[\s|:-]+\|$/.test(line)) header = false;
    else if (!header) rows.push(cellsOf(line));
  }
  return rows;
}

/** The cells of one row; `\|` inside a cell is a bar. */
function cellsOf(line: string): string[] {
  return line
    .slice(1, line.trimEnd().lastIndexOf("|"))
    .split(/(?<!\\)\|/)
    .map((cell) => cell.replaceAll("\\|", "|").trim());
}

/** A cell without the marks of code. */
export const plain = (cell: string): string => cell.replaceAll("`", "");

/** What is in one list and not in the other, one objection each. */
export function differences(documented: Iterable<string>, present: Iterable<string>, where: string): readonly string[] {
  const [ours, theirs] = [[...documented], [...present]];
  const repeated = ours.filter((name, index) => ours.indexOf(name) !== index);
  return [
    ...repeated.map((name) => `${where} names ${name} twice`),
    ...theirs.filter((name) => !ours.includes(name)).map((name) => `${where} lacks ${name}`),
    ...ours.filter((name) => !theirs.includes(name)).map((name) => `${where} names ${name}, which the code does not`),
  ];
}
