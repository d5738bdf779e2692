/** The table of docs/metrics.md is that of the metrics that a replica serves. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type MetricRow, metricTable } from "#src/gateway/admin/index.js";
import { differences, plain, read, tableRows } from "./markdown.js";

const page = "docs/metrics.md";
const rows = tableRows(read(page), "## Metrics");
const metrics: readonly MetricRow[] = Object.values(metricTable);

/** What a row says of a metric against what the replica says of it. */
function objections(documented: readonly string[][]): string[] {
  const found = differences(
    documented.map(([name = ""]) => plain(name)),
    metrics.map(({ name }) => name),
    page,
  ).slice();
  for (const [name = "", type = ""] of documented) {
    const metric = metrics.find((each) => each.name === plain(name));
    if (metric !== undefined && metric.type !== type) found.push(`${name} is a ${metric.type}, not a ${type}`);
  }
  return found;
}

describe("docs/metrics.md", () => {
  test("has every metric and nothing else", () => {
    assert.deepEqual(objections(rows), []);
  });

  test("is objected to when a row is missing, unknown or wrong", () => {
    const [first = [], ...rest] = rows;
    assert.equal(objections(rest).length, 1);
    assert.equal(objections([...rows, ["`synod_nothing`", "gauge", ""]]).length, 1);
    assert.equal(objections([[first[0] ?? "", "histogram", ""], ...rest]).length, 1);
  });

  test("names in its rules only metrics that there are", () => {
    const text = read(page);
    const named = [...text.matchAll(/\b((?:synod|process)_[a-z_]+)\b/g)].map(([, name]) => name ?? "");
    const known = new Set(metrics.flatMap(({ name }) => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]));
    assert.ok(named.length > 30);
    assert.deepEqual(
      named.filter((name) => !known.has(name)),
      [],
    );
  });
});
