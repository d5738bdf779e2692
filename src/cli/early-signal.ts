/**
 * Signals that come while the program is still being loaded, in its first tenths of a second. `bin/synod` imports this
 * before everything else: nothing has been started then, so the process just ends, and cleanly.
 */
/** As in `ExitCode`, which is not imported: this module has to be there before any other has been loaded. */
const EXIT_OK = 0;
const EXIT_INTERRUPTED = 3;

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const [, , command = ""] = process.argv;
/** Stopping is the normal end of these; of others it is an interruption. */
const serves = command === "up" || command === "replica";
/** What Ctrl-C on a terminal means for it is up to its supervisor, who gets that too. */
const supervised = process.argv.includes("--supervised");

function onEarlySignal(signal: NodeJS.Signals): void {
  if (supervised && signal !== "SIGTERM") return;
  // Away from a terminal it asks a replica for new certificates, and these are read anyway.
  if (command === "replica" && signal === "SIGHUP" && !process.stdin.isTTY) return;
  process.exit(serves ? EXIT_OK : EXIT_INTERRUPTED);
}

for (const signal of signals) process.on(signal, onEarlySignal);

/**
 * From now on a command answers for signals itself. It has added its own handlers before: a signal that arrived in this
 * turn and has not been handed out yet would be lost with the last handler for it.
 */
export function takeOverSignals(): void {
  for (const signal of signals) process.off(signal, onEarlySignal);
}
