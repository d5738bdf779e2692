import type { Experiment, Findings, Plot, Result, Row } from "../frame/index.js";
import { drawLegend, drawPlot, escapeHtml } from "./plot.js";

/** The report of one experiment as a page that needs nothing else: no script, no style and no picture from elsewhere. */
export function renderReport(experiment: Experiment, result: Result, { plots }: Findings): string {
  const failed = result.checks.filter(({ holds }) => holds === false).length;
  const verdict =
    failed === 0 ? "All checks that were made hold." : `${failed} of ${result.checks.length} checks fail.`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(result.experiment)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escapeHtml(result.experiment)}</h1>
<p>${escapeHtml(experiment.shows)}</p>
<p class="paper">${escapeHtml(result.paper)}</p>
<p><strong>${verdict}</strong></p>
<h2>Checks</h2>
${checks(result)}
<h2>Curves</h2>
${plots.map(figure).join("\n")}
<h2>Configuration</h2>
${fields(result.config)}
<h2>Machine</h2>
${fields({ ...result.machine })}
<h2>Measurements</h2>
${table(result.rows)}
</body>
</html>
`;
}

function checks({ checks: all }: Result): string {
  const rows = all.map(({ name, expected, measured, holds, deviation }) => {
    const verdict = holds === null ? "not made" : holds ? "holds" : "fails";
    const cells = [name, verdict, expected, measured ?? "–", deviation ?? ""];
    return `<tr class="${holds === false ? "fails" : ""}">${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join("")}</tr>`;
  });
  const head = ["check", "", "expected", "measured", "deviation"].map((name) => `<th>${name}</th>`).join("");
  return `<table><tr>${head}</tr>${rows.join("")}</table>`;
}

function figure(plot: Plot): string {
  return `<figure>
<h3>${escapeHtml(plot.title)}</h3>
${drawPlot(plot)}
${drawLegend(plot)}
<figcaption>The paper: ${escapeHtml(plot.shape)}</figcaption>
</figure>`;
}

function fields(row: Row): string {
  const rows = Object.entries(row).map(
    ([name, value]) => `<tr><th>${escapeHtml(name.replaceAll("_", " "))}</th><td>${escapeHtml(shown(value))}</td></tr>`,
  );
  return `<table>${rows.join("")}</table>`;
}

/** Rows of different kinds have different fields: the columns are those of all of them, in the order of their appearance. */
function table(rows: readonly Row[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const head = columns.map((name) => `<th>${escapeHtml(name.replaceAll("_", " "))}</th>`).join("");
  const lines = rows.map(
    (row) => `<tr>${columns.map((name) => `<td>${escapeHtml(shown(row[name] ?? null))}</td>`).join("")}</tr>`,
  );
  return `<table><tr>${head}</tr>${lines.join("\n")}</table>`;
}

function shown(value: Row[string]): string {
  if (value === null) return "";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(4)));
}

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328; background: #fff; }
table { border-collapse: collapse; margin: 0.5rem 0; font-size: 13px; display: block; overflow-x: auto; }
td, th { border: 1px solid #d0d7de; padding: 0.2rem 0.5rem; text-align: left; vertical-align: top; }
tr.fails td { background: #ffebe9; }
figure { margin: 1rem 0; }
figcaption, .paper { color: #57606a; }
svg { width: 100%; max-width: 640px; font-size: 12px; }
svg .frame { fill: none; stroke: #8c959f; }
svg .grid { stroke: #eaeef2; }
svg .axis { stroke: #8c959f; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: 13px; }
.legend span { display: inline-block; width: 0.8rem; height: 0.8rem; margin-right: 0.3rem; }
`;
