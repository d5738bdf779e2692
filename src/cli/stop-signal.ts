import { takeOverSignals } from "./early-signal.js";

/** A second signal this soon after the first is the same key press reaching the process twice. */
const SECOND_SIGNAL_AFTER_MS = 500;

/**
 * Calls `stop` at the first of `signals`, and `abandon` at one that comes more than 500 ms later: whoever sends it no
 * longer wants to wait for a graceful end.
 */
export function onStopSignal(
  stop: () => void,
  abandon: () => void,
  signals: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"],
): void {
  let firstMs = 0;
  const onSignal = (): void => {
    const nowMs = performance.now();
    if (firstMs === 0) {
      firstMs = nowMs;
      stop();
    } else if (nowMs - firstMs > SECOND_SIGNAL_AFTER_MS) {
      abandon();
    }
  };
  for (const signal of signals) process.on(signal, onSignal);
  takeOverSignals();
}
