/**
 * Operations of the `counter` service, in the shared command format (see ../command).
 *
 * | operation | arguments | reply |
 * |---|---|---|
 * | get | – | integer |
 * | add | decimal delta | integer: the new value, or an error, and then nothing changed |
 */
export const CounterOperation = { get: 1, add: 2 } as const;

/** The counter stays within plus and minus this. */
export const COUNTER_MAX = Number.MAX_SAFE_INTEGER;
