// Hot file: one call per answered block, or per command when each has its own due time. No allocation.

/** Each doubling is divided into this many buckets. */
const SUBDIVISIONS = 128;
const SUBDIVISION_BITS = 7;
/** Below this many µs every value has a bucket of its own. */
const LINEAR = 2 * SUBDIVISIONS;
const VALUE_BITS = 31;
const VALUE_MAX = 2 ** VALUE_BITS - 1;
const BUCKETS = LINEAR + (VALUE_BITS - SUBDIVISION_BITS - 1) * SUBDIVISIONS;

/** Latencies in buckets of at most 1/128 (0.8 %) of their value. Covers 1 µs to 35 minutes; beyond counts as that. */
export class LatencyHistogram {
  /** Doubles, so that no count overflows. */
  readonly #counts = new Float64Array(BUCKETS);
  #total = 0;
  #maxMs = 0;

  get total(): number {
    return this.#total;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  record(ms: number, count: number): void {
    const us = Math.min(VALUE_MAX, Math.max(0, Math.round(ms * 1000)));
    let index = us;
    if (us >= LINEAR) {
      const exponent = 31 - Math.clz32(us);
      const position = (us >>> (exponent - SUBDIVISION_BITS)) & (SUBDIVISIONS - 1);
      index = LINEAR + (exponent - SUBDIVISION_BITS - 1) * SUBDIVISIONS + position;
    }
    this.#counts[index] = (this.#counts[index] as number) + count;
    this.#total += count;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /** The latency in ms that a `fraction` of all does not exceed, rounded up to its bucket; 0 if there are none. */
  percentile(fraction: number): number {
    const rank = Math.max(1, Math.ceil(fraction * this.#total));
    let seen = 0;
    for (let index = 0; index < BUCKETS; index++) {
      seen += this.#counts[index] as number;
      if (seen >= rank) return Math.min(this.#maxMs, bucketEnd(index) / 1000);
    }
    return this.#maxMs;
  }

  /** Adds everything another has counted: the load of several threads is one distribution. */
  merge(other: { readonly counts: Float64Array; readonly maxMs: number }): void {
    for (let index = 0; index < BUCKETS; index++) {
      const count = other.counts[index] ?? 0;
      this.#counts[index] = (this.#counts[index] as number) + count;
      this.#total += count;
    }
    this.#maxMs = Math.max(this.#maxMs, other.maxMs);
  }

  /** A copy that can be sent to another thread and merged there. */
  export(): { readonly counts: Float64Array; readonly maxMs: number } {
    return { counts: this.#counts.slice(), maxMs: this.#maxMs };
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
    this.#maxMs = 0;
  }
}

/** Largest whole µs of a bucket. */
function bucketEnd(index: number): number {
  if (index < LINEAR) return index;
  const exponent = SUBDIVISION_BITS + 1 + Math.floor((index - LINEAR) / SUBDIVISIONS);
  const position = (index - LINEAR) % SUBDIVISIONS;
  return (SUBDIVISIONS + position + 1) * 2 ** (exponent - SUBDIVISION_BITS) - 1;
}
