import { AssertionError } from "../base/index.js";
import { ConfigError, ExitCode, StorageError } from "../model/index.js";

/** Ends a command with this exit code after one line on stderr. For outcomes that are no fault of any module. */
export class ExitError extends Error {
  override readonly name = "ExitError";
  readonly exitCode: number;
  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The exit code that the product contract gives to an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof ExitError) return error.exitCode;
  if (error instanceof ConfigError) return ExitCode.usage;
  if (error instanceof StorageError) return error.diskFull ? ExitCode.diskFull : ExitCode.fatal;
  if (error instanceof AssertionError) return ExitCode.fatal;
  return ExitCode.failed;
}

/** What to tell a person about an error, on one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s*\n\s*/g, " ").trim();
}
