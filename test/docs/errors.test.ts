/** docs/errors.md names every error code, error reply and exit code there is, and none that is not. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ExitCode } from "#src/model/index.js";
import { differences, plain, read, sourceTexts, tableRows } from "./markdown.js";

const page = "docs/errors.md";
const text = read(page);
const sources = [...sourceTexts()];

/** Codes of errors: quoted, and not the name of an environment variable. */
function codesIn(source: string): string[] {
  return [...source.matchAll(/(\benv\()?"(SYNOD_[A-Z_]+)"/g)]
    .filter(([, env]) => env === undefined)
    .map(([, , code]) => code!);
}

/** First words of RESP error replies: they begin a text, perhaps behind the minus of the wire format, and go on in small letters or with more. */
function replyWordsIn(source: string): string[] {
  return [...source.matchAll(/["`]-?([A-Z]{3,}) (?=[A-Za-z])/g)].map(([, word]) => word!);
}

const firstCells = (heading: string): string[] => tableRows(text, heading).map(([first = ""]) => plain(first));
const unique = (names: readonly string[]): string[] => [...new Set(names)].sort();

describe("docs/errors.md", () => {
  test("names the codes of the source, both ways", () => {
    const found = unique(sources.flatMap(([, source]) => codesIn(source)));
    assert.ok(found.length >= 10, `found ${found.length} codes`);
    assert.deepEqual(differences(firstCells("## Codes"), found, page), []);
  });

  test("names the error replies of the gateway and the services, both ways", () => {
    const answering = sources.filter(([path]) => /^src\/(?:gateway|service|platform\/transport)\//.test(path));
    const found = unique(answering.flatMap(([, source]) => replyWordsIn(source)));
    assert.ok(found.includes("TRYAGAIN") && found.includes("INDETERMINATE"), found.join(" "));
    const documented = firstCells("## Error replies over the Redis protocol").map((name) => name.replace(/^-/, ""));
    assert.deepEqual(differences(documented, found, page), []);
  });

  test("names the exit codes, both ways", () => {
    assert.deepEqual(differences(firstCells("## Exit codes"), Object.values(ExitCode).map(String), page), []);
  });

  test("says of each code whether the command may have been applied", () => {
    for (const row of tableRows(text, "## Codes")) {
      assert.equal(row.length, 5, row.join(" | "));
      assert.match(row[3] ?? "", /^(?:no|perhaps|–)/, row[0]);
    }
  });

  test("is objected to when a code is missing, unknown or repeated", () => {
    const source =
      'super("SYNOD_A", message); new SynodError(full ? "SYNOD_B" : "SYNOD_C", m); option.env("SYNOD_DATA")';
    assert.deepEqual(codesIn(source), ["SYNOD_A", "SYNOD_B", "SYNOD_C"]);
    assert.deepEqual(differences(["SYNOD_A", "SYNOD_A", "SYNOD_D"], codesIn(source), "x.md"), [
      "x.md names SYNOD_A twice",
      "x.md lacks SYNOD_B",
      "x.md lacks SYNOD_C",
      "x.md names SYNOD_D, which the code does not",
    ]);
    assert.deepEqual(replyWordsIn('"-ERR max"; `BUSY is ${a}`; "PONG"; "a WORD b"'), ["ERR", "BUSY"]);
  });
});
