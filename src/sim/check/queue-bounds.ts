/** A queue that held more than it may. */
export interface OverfullQueue {
  readonly owner: string;
  readonly queue: string;
  readonly value: number;
  readonly maximum: number;
}

/** The most that a queue was seen to hold, by any owner, and how near to its maximum that was. */
export interface QueuePeak {
  readonly queue: string;
  readonly value: number;
  readonly maximum: number;
  /** Between 0 and 1: a load that leaves all of them near 0 has tested no bound. */
  readonly share: number;
}

/**
 * Bounded memory: every queue has a declared maximum, and is never seen above it. Fed with samples; keeps one peak a queue.
 */
export class QueueBounds {
  readonly #peaks = new Map<string, QueuePeak>();
  #overfull: OverfullQueue | null = null;

  /** The first queue that was seen above its maximum, or null. */
  get overfull(): OverfullQueue | null {
    return this.#overfull;
  }

  /** Fullest first. */
  get peaks(): readonly QueuePeak[] {
    return [...this.#peaks.values()].sort((a, b) => b.share - a.share);
  }

  sample(owner: string, queue: string, value: number, maximum: number): void {
    // Written so that NaN, as a value or as a maximum, is a violation too.
    if (!(value >= 0 && value <= maximum)) this.#overfull ??= { owner, queue, value, maximum };
    const share = value / maximum;
    const known = this.#peaks.get(queue);
    if (known === undefined || share > known.share) this.#peaks.set(queue, { queue, value, maximum, share });
  }
}

/** In one sentence. */
export function describeOverfull({ owner, queue, value, maximum }: OverfullQueue): string {
  return `${owner}: ${queue} hold ${value}, their maximum is ${maximum}`;
}
