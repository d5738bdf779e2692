/** Report: one experiment as a page with its curves, which needs nothing else. */
export { drawLegend, drawPlot, escapeHtml } from "./plot.js";
export { renderReport } from "./report.js";
