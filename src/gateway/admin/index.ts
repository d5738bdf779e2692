/**
 * admin: health and metrics of one replica over HTTP, for supervisors and Prometheus. It reads and changes nothing.
 *
 * It has a door of its own because the main thread of a replica, where it runs, loads nothing else of the gateways.
 * Reading order: metric-table.ts (what there is), metrics.ts, exposition.ts (the text format), readiness.ts, server.ts.
 */
export { type MetricRow, metricTable } from "./metric-table.js";
export { metricsPage, type ProcessFacts, type ProcessReading } from "./metrics.js";
export { LAG_INSTANCES_MAX, type Readiness, readiness } from "./readiness.js";
export { type AdminServer, type AdminServerInit, READING_MS_MAX, startAdminServer } from "./server.js";
