import { assert } from "../../base/index.js";
import type { MetricRow } from "./metric-table.js";

/** A histogram: one count a bucket, not cumulative, the last of what lies beyond every bound. */
export interface Buckets {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sumSeconds: number;
}

export type Labels = Readonly<Record<string, string>>;

/** Writes the Prometheus text format, version 0.0.4. */
export class Exposition {
  #text = "";
  #row: MetricRow | null = null;

  get text(): string {
    return this.#text;
  }

  /** Begins a metric; its samples follow. */
  metric(row: MetricRow): this {
    this.#row = row;
    this.#text += `# HELP ${row.name} ${row.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n`;
    this.#text += `# TYPE ${row.name} ${row.type}\n`;
    return this;
  }

  sample(value: number, labels: Labels = {}): this {
    const row = this.#row;
    assert(row !== null && row.type !== "histogram", "a sample belongs to a counter or gauge");
    return this.#line(row.name, labels, value);
  }

  /** The samples of a histogram. */
  buckets({ bounds, counts, sumSeconds }: Buckets, labels: Labels = {}): this {
    const row = this.#row;
    assert(row?.type === "histogram", "buckets belong to a histogram");
    assert(counts.length === bounds.length + 1, `${bounds.length} bounds make one bucket more, got ${counts.length}`);
    let total = 0;
    for (const [index, count] of counts.entries()) {
      total += count;
      const bound = bounds[index];
      this.#line(`${row.name}_bucket`, { ...labels, le: bound === undefined ? "+Inf" : String(bound) }, total);
    }
    return this.#line(`${row.name}_sum`, labels, sumSeconds).#line(`${row.name}_count`, labels, total);
  }

  #line(name: string, labels: Labels, value: number): this {
    const inner = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
    this.#text += `${name}${inner.length === 0 ? "" : `{${inner.join(",")}}`} ${shown(value)}\n`;
    return this;
  }
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function shown(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}
