import type { Prng } from "#src/base/index.js";
import type { SimKernel } from "#src/platform/index.js";

/** Lets acts recur until a virtual time in ms: `every(ms, act)` calls `act` after random times of `ms` in the mean. */
export function recurring(kernel: SimKernel, prng: Prng, endMs: number): (ms: number, act: () => void) => void {
  const every = (ms: number, act: () => void): void => {
    kernel.after(prng.float() * 2 * ms, () => {
      if (kernel.now >= endMs) return;
      act();
      every(ms, act);
    });
  };
  return every;
}
