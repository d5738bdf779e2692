/** The tables of docs/redis.md are those of the gateway. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { commandRows } from "#src/gateway/resp/command-table.js";
import { differences, plain, read, tableRows } from "./markdown.js";

const page = "docs/redis.md";
const text = read(page);
const present = tableRows(text, "### Present");
const planned = tableRows(text, "### Not built yet");
const names = (rows: readonly string[][]): string[] =>
  rows.flatMap(([first = ""]) => plain(first).split(/,? /)).map((name) => name.toLowerCase());

/** What a row says of a command against what the gateway has. */
function objections(rows: readonly string[][]): string[] {
  const found = differences(
    names(rows),
    commandRows.map((row) => row.name),
    page,
  ).slice();
  for (const [name = "", group = "", summary = ""] of rows) {
    const row = commandRows.find((one) => one.name === plain(name).toLowerCase());
    if (row === undefined) continue;
    if (row.group !== group) found.push(`${name} is of the group ${row.group}, not ${group}`);
    if (row.summary !== summary) found.push(`${name}: "${row.summary}", not "${summary}"`);
  }
  return found;
}

describe("docs/redis.md", () => {
  test("shows as present what the gateway has, and nothing else", () => {
    assert.deepEqual(objections(present), []);
  });

  test("shows as not built yet nothing that the gateway has", () => {
    const missing = names(planned);
    assert.ok(missing.length > 0);
    assert.deepEqual(
      missing.filter((name) => commandRows.some((row) => row.name === name)),
      [],
    );
  });

  test("is objected to when a row is missing, unknown or wrong", () => {
    assert.deepEqual(objections(present.slice(1)), [`${page} lacks ${names(present)[0]}`]);
    assert.deepEqual(objections([...present, ["`LPUSH`", "list", "Prepends"]]), [
      `${page} names lpush, which the code does not`,
    ]);
    const [first = [], ...rest] = present;
    assert.equal(objections([[first[0] ?? "", "server", "Something else"], ...rest]).length, 2);
  });
});
