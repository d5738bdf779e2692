/**
 * What a command says on stdout: one JSON object a line for programs, or words for people. Whoever reads may go away
 * (`synod … | head`): that ends nothing but the output.
 */
export interface Output {
  readonly json: boolean;
  /** True when a person watches: colours and progress are welcome. */
  readonly terminal: boolean;
  /** One object a line, only with `--json`. */
  event(value: object): void;
  /** A line for people, never with `--json`. */
  line(text: string): void;
  /** Replaces the line below the output (a progress bar); an empty text removes it. Only on a terminal. */
  progress(text: string): void;
}

export function createOutput(json: boolean): Output {
  const stream = process.stdout;
  const terminal = stream.isTTY && !json;
  let shown = false;
  stream.on("error", () => undefined);
  const clear = (): string => {
    const prefix = shown ? "\r\u001b[2K" : "";
    shown = false;
    return prefix;
  };
  return {
    json,
    terminal,
    event(value) {
      if (json) stream.write(`${JSON.stringify(value)}\n`);
    },
    line(text) {
      if (!json) stream.write(`${clear()}${text}\n`);
    },
    progress(text) {
      if (!terminal) return;
      stream.write(`${clear()}${text}`);
      shown = text !== "";
    },
  };
}

/** `text` in a colour when a person watches and has not asked for none (https://no-color.org). */
export function painted(output: Output, colour: "green" | "red" | "yellow" | "dim", text: string): string {
  if (!output.terminal || (process.env["NO_COLOR"] ?? "") !== "") return text;
  const code = { green: 32, red: 31, yellow: 33, dim: 2 }[colour];
  return `\u001b[${code}m${text}\u001b[0m`;
}

/** 18432 as "18,432", the same in every locale. */
export function grouped(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
}
