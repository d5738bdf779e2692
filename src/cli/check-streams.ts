/** Where `synod check` writes; each text is one or more whole lines, except for progress. */
export interface CheckStreams {
  out(text: string): void;
  error(text: string): void;
  /** True if a person watches the error stream, so that a line of progress may be drawn there. */
  readonly terminal: boolean;
}

export const processStreams: CheckStreams = {
  out: (text) => process.stdout.write(text),
  error: (text) => process.stderr.write(text),
  terminal: process.stderr.isTTY,
};

/** Progress is not shown before the check has taken this long, in ms. */
const QUIET_MS = 1000;
/** One line that replaces itself, drawn at most ten times a second once the check has taken a while. */
export class Progress {
  readonly #streams: CheckStreams;
  #nextMs: number;
  #shown = false;

  constructor(streams: CheckStreams, startedMs: number) {
    this.#streams = streams;
    this.#nextMs = startedMs + QUIET_MS;
  }

  show(text: string): void {
    if (!this.#streams.terminal) return;
    const now = performance.now();
    if (now < this.#nextMs) return;
    this.#nextMs = now + 100;
    this.#shown = true;
    this.#streams.error(`\r\u001b[2K${text}`);
  }

  clear(): void {
    if (this.#shown) this.#streams.error("\r\u001b[2K");
  }
}
