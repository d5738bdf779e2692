import type { Curve, Plot } from "../frame/index.js";

const WIDTH = 640;
const HEIGHT = 360;
const MARGIN = { left: 72, right: 16, top: 16, bottom: 48 } as const;
const COLOURS = ["#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#bf3989", "#0a7ea4"] as const;
const TICKS = 5;

/** A plot as an SVG element, with a legend below. Both axes are linear and the vertical one begins at 0. */
export function drawPlot(plot: Plot): string {
  const points = plot.curves
    .flatMap((curve) => curve.points)
    .filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  const xs = points.map(([x]) => x);
  const left = Math.min(...xs, 0);
  const right = Math.max(...xs, left + 1e-9);
  const top = roundUp(Math.max(...points.map(([, y]) => y), 1e-9));
  const placeX = (x: number): number =>
    MARGIN.left + ((x - left) / (right - left)) * (WIDTH - MARGIN.left - MARGIN.right);
  const placeY = (y: number): number => HEIGHT - MARGIN.bottom - (y / top) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const parts = [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(plot.title)}">`,
    `<rect x="${MARGIN.left}" y="${MARGIN.top}" width="${WIDTH - MARGIN.left - MARGIN.right}" height="${HEIGHT - MARGIN.top - MARGIN.bottom}" class="frame"/>`,
  ];
  for (let i = 0; i <= TICKS; i++) {
    const y = (top * i) / TICKS;
    parts.push(
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${placeY(y)}" y2="${placeY(y)}" class="grid"/>`,
      `<text x="${MARGIN.left - 6}" y="${placeY(y) + 4}" text-anchor="end">${short(y)}</text>`,
    );
  }
  for (const x of ticksOf(plot.curves)) {
    parts.push(
      `<line x1="${placeX(x)}" x2="${placeX(x)}" y1="${HEIGHT - MARGIN.bottom}" y2="${HEIGHT - MARGIN.bottom + 4}" class="axis"/>`,
      `<text x="${placeX(x)}" y="${HEIGHT - MARGIN.bottom + 18}" text-anchor="middle">${short(x)}</text>`,
    );
  }
  parts.push(
    `<text x="${(MARGIN.left + WIDTH) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${escapeHtml(plot.x)}</text>`,
    `<text x="14" y="${HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})">${escapeHtml(plot.y)}</text>`,
  );
  plot.curves.forEach((curve, i) => {
    const colour = colourOf(i);
    const dash = curve.paper === true ? ' stroke-dasharray="6 4"' : "";
    const path = curve.points
      .map(([x, y], at) => `${at === 0 ? "M" : "L"}${fixed(placeX(x))} ${fixed(placeY(y))}`)
      .join("");
    parts.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`);
    for (const [x, y] of curve.points) {
      const name = escapeHtml(`${curve.name}: ${short(x)}, ${short(y)}`);
      parts.push(
        `<circle cx="${fixed(placeX(x))}" cy="${fixed(placeY(y))}" r="3" fill="${colour}"><title>${name}</title></circle>`,
      );
    }
  });
  parts.push("</svg>");
  return parts.join("\n");
}

export function drawLegend(plot: Plot): string {
  const items = plot.curves.map(
    (curve, i) =>
      `<li><span style="background:${colourOf(i)}"></span>${escapeHtml(curve.name)}${curve.paper === true ? " (paper)" : ""}</li>`,
  );
  return `<ul class="legend">${items.join("")}</ul>`;
}

export function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

const colourOf = (i: number): string => COLOURS[i % COLOURS.length] as string;
const fixed = (value: number): string => value.toFixed(1);

/** The places on the x axis that curves have points at, thinned out so that their names do not touch. */
function ticksOf(curves: readonly Curve[]): number[] {
  const places = [...new Set(curves.flatMap((curve) => curve.points.map(([x]) => x)))].sort((a, b) => a - b);
  const last = places.at(-1) ?? 0;
  const room = (last - (places[0] ?? 0)) / 16;
  const ticks: number[] = [];
  for (const place of places) if (place - (ticks.at(-1) ?? -Infinity) >= room) ticks.push(place);
  return ticks;
}

/** 1, 2, 2.5 or 5 times a power of ten, not below the value. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 2.5, 5, 10].find((step) => step * power >= value) ?? 10);
}

/** 1200000 as "1.2 M". */
function short(value: number): string {
  if (Math.abs(value) >= 1e6) return `${trimmed(value / 1e6)} M`;
  if (Math.abs(value) >= 1e4) return `${trimmed(value / 1e3)} k`;
  return trimmed(value);
}

const trimmed = (value: number): string => String(Number(value.toPrecision(3)));
