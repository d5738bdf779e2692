// What is said of several runs: the middle one, and how far they lie apart.

/** The middle value; of an even number of values the upper one of the two, so that it is one that was measured. */
export function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

export function summary(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), runs: values.length };
}

/** 1234567 as "1,234,567"; numbers below 100 keep three digits. */
export function figure(value) {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 100) return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
  return String(Number(value.toPrecision(3)));
}

/** "median (min..max)". */
export function spread({ median: middle, min, max }) {
  return `${figure(middle)} (${figure(min)}..${figure(max)})`;
}

/** The percentile of sorted values, 0 < fraction <= 1. */
export function percentile(sorted, fraction) {
  return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] ?? Number.NaN;
}

/** Prints rows as a Markdown table. */
export function printTable(head, rows) {
  console.log(`| ${head.join(" | ")} |`);
  console.log(`|${head.map(() => "---").join("|")}|`);
  for (const row of rows) console.log(`| ${row.join(" | ")} |`);
}
