/**
 * counter: the smallest service that can lose or repeat a command visibly: one number, which starts at 0. It shows what the
 * `Service` interface asks for, and it is what tests of exactly-once execution count with.
 */
import type { ServiceModule } from "../../model/index.js";
import { Counter } from "./service.js";

export { COUNTER_MAX, CounterOperation } from "./command.js";

/** The service for the registry. */
export const counter: ServiceModule = { name: "counter", create: () => new Counter() };
