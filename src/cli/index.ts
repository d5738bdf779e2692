/**
 * Command line: the commands, options and exit codes of the `synod` program.
 *
 * `main.ts` is what runs; each command is a `…-command.ts` (its options) and a file that is loaded when it runs. A local
 * cluster is `up.ts` → `supervisor.ts` (child processes) → `replica.ts` (a child's main thread: signals, log) →
 * `replica-thread-main.ts` (the replica itself and its gateways, in a worker thread).
 */
export {};
