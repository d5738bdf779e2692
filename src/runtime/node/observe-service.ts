import type { EventLog } from "../../platform/index.js";
import type { ServiceObserver } from "../user-service/index.js";

/** Places in the user's code that are told of; behind them the log would only become longer. */
const PLACES_MAX = 100;

/**
 * Writes to the log of operation what goes wrong in the code of a user's service: each place where the determinism guard has
 * refused something once, with the line, which no reply may name because replies are the same on all replicas.
 */
export function observeService(service: string, events: Pick<EventLog, "warn" | "error">): ServiceObserver {
  const places = new Set<string>();
  return {
    onRejection: (reason) => events.error("promise-rejected", { service, reason }),
    onViolation: ({ message, at }) => {
      const place = at ?? message;
      if (places.has(place) || places.size >= PLACES_MAX) return;
      places.add(place);
      events.warn("service-differs", { service, message, ...(at === null ? {} : { at }) });
    },
  };
}
