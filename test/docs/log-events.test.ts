/** The table of events in docs/operations.md is that of the events that the source logs, with their levels. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { differences, plain, read, sourceTexts, tableRows } from "./markdown.js";

const page = "docs/operations.md";

/** Events of a text as "level event": calls of a log's methods with a literal name, and names chosen among two. */
function eventsIn(text: string): string[] {
  return [...text.matchAll(/\.(info|warn|error)\(\s*(?:\w+ \? "[^"]+" : )?"([a-z][^"]*)"/g)].map(
    ([, level, event]) => `${level} ${event}`,
  );
}

/** The same of the rows of the table; a row may name several events of one meaning. */
function eventsOf(rows: readonly string[][]): string[] {
  return rows.flatMap(([names = "", level = ""]) =>
    [...names.matchAll(/`([^`]+)`/g)].map(([, event]) => `${plain(level)} ${event}`),
  );
}

describe("the events of the log", () => {
  test("are those of the table, both ways", () => {
    const present = new Set([...sourceTexts().values()].flatMap(eventsIn));
    assert.ok(present.size > 20, `found ${present.size}`);
    assert.deepEqual(differences(eventsOf(tableRows(read(page), "## Logs")), present, page), []);
  });

  test("are found in source, and missed in the table", () => {
    const source = 'events.warn("a b", { x }); this.#events?.info(\n  "c-d",\n); console.log("no");';
    assert.deepEqual(eventsIn(source), ["warn a b", "info c-d"]);
    assert.deepEqual(differences(eventsOf([["`a b`", "warn", ""]]), eventsIn(source), "x.md"), ["x.md lacks info c-d"]);
  });
});
