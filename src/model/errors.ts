/** Exit codes of the command line (DESIGN section 2). */
export const ExitCode = {
  ok: 0,
  failed: 1,
  interrupted: 3,
  usage: 4,
  verdict: 5,
  fatal: 7,
  diskFull: 10,
} as const;

/** Base of every error a user can meet; `code` is stable and documented in docs/errors.md. */
export class SynodError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/** A flag, environment variable, config file or option is wrong. Exit 4. */
export class ConfigError extends SynodError {
  constructor(message: string) {
    super("SYNOD_CONFIG", message);
  }
}

/** Certainly not applied: try again. */
export class TryAgainError extends SynodError {
  constructor(message = "no coordinator took the command before its deadline; it was not applied") {
    super("SYNOD_TRY_AGAIN", message);
  }
}

/** The outcome can't be known: the deadline passed after the command was sent. It may be applied, also later. */
export class IndeterminateError extends SynodError {
  constructor(message = "the deadline passed before a reply; the command may have been applied") {
    super("SYNOD_INDETERMINATE", message);
  }
}

/** The session idled longer than the cluster's limit; its exactly-once memory is gone. */
export class SessionExpiredError extends SynodError {
  constructor(message = "the session has expired") {
    super("SYNOD_SESSION_EXPIRED", message);
  }
}

/** A block came through a stream that does not take its commands: who chose the stream made a mistake. Not applied. */
export class MisroutedError extends SynodError {
  constructor(message = "the command was sent through a group that it does not concern alone; it was not applied") {
    super("SYNOD_MISROUTED", message);
  }
}

/** The client was closed. */
export class ClosedError extends SynodError {
  constructor(message = "the client is closed") {
    super("SYNOD_CLOSED", message);
  }
}

/** The service answered a command with an error. */
export class CommandError extends SynodError {
  constructor(message: string) {
    super("SYNOD_COMMAND", message);
  }
}

/** A snapshot is malformed or incomplete. */
export class CheckpointDamagedError extends SynodError {
  constructor(message: string) {
    super("SYNOD_CHECKPOINT_DAMAGED", message);
  }
}

/** This replica's state differs from that of a majority at the same position: its service is not deterministic. Exit 7. */
export class DivergedError extends SynodError {
  constructor(message: string) {
    super("SYNOD_DIVERGED", message);
  }
}

/** A backup file is damaged or incomplete. Exit 1. */
export class BackupDamagedError extends SynodError {
  constructor(message: string) {
    super("SYNOD_BACKUP_DAMAGED", message);
  }
}

/** A file was written by a newer version of the format. */
export class FormatVersionError extends SynodError {
  constructor(message: string) {
    super("SYNOD_FORMAT_VERSION", message);
  }
}

/** Writing or syncing failed. The replica stops and never retries the sync: exit 7, or 10 when the disk is full. */
export class StorageError extends SynodError {
  readonly diskFull: boolean;
  constructor(message: string, diskFull: boolean, options?: { cause?: unknown }) {
    super(diskFull ? "SYNOD_DISK_FULL" : "SYNOD_STORAGE", message, options);
    this.diskFull = diskFull;
  }
}

/** An address can't be listened on: it is in use, not one of this machine, or not permitted. Exit 1. */
export class ListenError extends SynodError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("SYNOD_LISTEN", message, options);
  }
}

/** The replicas do not let this client in: it showed no password or certificate, or a wrong one. Exit 1. */
export class AuthenticationError extends SynodError {
  constructor(message: string) {
    super("SYNOD_AUTHENTICATION", message);
  }
}

/** Another live process uses the directory. Exit 1. */
export class LockedError extends SynodError {
  constructor(message: string) {
    super("SYNOD_LOCKED", message);
  }
}

/** A thread of this process failed, or neither began nor ended in time. The cause has what it threw. */
export class ThreadError extends SynodError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("SYNOD_THREAD", message, options);
  }
}
