/**
 * Trace codes: one typed stream that feeds checkers, metrics, experiments and the dashboard. Each event has up to three
 * numbers, named here.
 */
export const TraceCode = {
  /** a: ballot */
  promised: 1,
  /** a: instance, b: ballot, c: hash of the batch */
  accepted: 2,
  /** a: instance, b: ballot, c: hash of the batch */
  decided: 3,
  /** a: ballot */
  elected: 4,
  /** a: ballot */
  steppedDown: 5,
  /** a: instance, b: hash of the replicated state is not taken here; commands executed */
  executed: 6,
  /** a: trimmed through */
  trimmed: 7,
  /** a: checkpoint through */
  checkpointed: 8,
  /** a: installed through, b: from replica */
  installed: 9,
  /** a: incarnation, b: floor instance, c: floor ballot */
  rejoined: 10,
  /** a: session, b: first sequence, c: count */
  commandsExecuted: 11,
  /** a: session, b: first sequence, c: expected sequence */
  commandsSkipped: 12,
  /** a: session */
  sessionOpened: 13,
  /** a: session */
  sessionExpired: 14,
  /** a: ballot of the candidate */
  preVote: 15,
  /** a: ticket, b: after instance */
  readable: 16,
  /** a: missing from, b: asked replica */
  catchUp: 17,
  /** a: session, b: sequence of a command that failed its safety check (opt-PSMR), c: thread */
  commandFailed: 18,
  /** a: session, b: first sequence of failed commands that have executed at a barrier, c: count */
  conservativeExecuted: 19,
} as const;
export type TraceCode = (typeof TraceCode)[keyof typeof TraceCode];
