import type { ByteWriter } from "../../base/index.js";
import type { CommandRow } from "./command-table.js";
import type { Connection } from "./connection.js";
import {
  type Protocol,
  writeArrayHeader,
  writeBulk,
  writeBulkText,
  writeError,
  writeInteger,
  writeMapHeader,
  writeNil,
  writeNilArray,
  writeSetHeader,
  writeSimple,
  writeVerbatim,
} from "./encoding.js";
import { argumentIs, argumentText, type Request } from "./request.js";
import { globFits, type InfoFields, infoText, REDIS_VERSION } from "./server-info.js";

/** What the commands that are answered here know of their gateway. */
export interface LocalServer {
  readonly commands: readonly CommandRow[];
  /** Parameters that CONFIG GET shows. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Whether connections have to authenticate. */
  readonly authenticates: boolean;
  /** Takes the verdict on the password in this request: true if it lets the connection in. */
  logIn(connection: Connection): boolean;
  /** Forgets who the connection is, unless its certificate says. */
  logOut(connection: Connection): void;
  connections(): Iterable<Connection>;
  info(): InfoFields;
  nowMs(): number;
}

/** Answers one request by exactly one reply. */
export interface LocalCommand {
  (request: Request, connection: Connection, out: ByteWriter, server: LocalServer): void;
  /** Why a request is refused before anything is executed, or null. */
  readonly objection?: (request: Request) => string | null;
}

const arityError = (out: ByteWriter, name: string): void =>
  writeError(out, `ERR wrong number of arguments for '${name}' command`);

export const ping: LocalCommand = (request, _connection, out) => {
  if (request.count > 2) arityError(out, "ping");
  else if (request.count === 2) writeArgumentBack(request, out);
  else writeSimple(out, "PONG");
};

export const echo: LocalCommand = (request, _connection, out) => writeArgumentBack(request, out);

function writeArgumentBack(request: Request, out: ByteWriter): void {
  writeBulk(out, request.bytes, request.spans[2] as number, request.spans[3] as number);
}

/** The gateway has given up the watch. */
export const unwatch: LocalCommand = (_request, _connection, out) => writeSimple(out, "OK");

export const quit: LocalCommand = (_request, connection, out) => {
  writeSimple(out, "OK");
  connection.ending = true;
};

export const reset: LocalCommand = (_request, connection, out, server) => {
  server.logOut(connection);
  connection.protocol = 2;
  connection.name = "";
  connection.noEvict = false;
  connection.noTouch = false;
  writeSimple(out, "RESET");
};

const INT_MAX = 2 ** 31 - 1;

export const select: LocalCommand = (request, _connection, out) => {
  const index = wholeNumber(argumentText(request, 1));
  if (Number.isNaN(index)) writeError(out, "ERR value is not an integer or out of range");
  else if (index < -INT_MAX - 1 || index > INT_MAX) {
    writeError(out, "ERR value is out of range, value must between -2147483648 and 2147483647");
  } else if (index !== 0) writeError(out, "ERR DB index is out of range");
  else writeSimple(out, "OK");
};

const WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled.";

/** As Redis without passwords: the one user is `default`, and any password will do for it. */
function isLetIn(request: Request, index: number, connection: Connection, server: LocalServer): boolean {
  return server.authenticates ? server.logIn(connection) : argumentText(request, index) === "default";
}

export const auth: LocalCommand = (request, connection, out, server) => {
  if (request.count > 3) {
    writeError(out, "ERR syntax error");
  } else if (server.authenticates) {
    if (server.logIn(connection)) writeSimple(out, "OK");
    else writeError(out, WRONG_PASSWORD);
  } else if (request.count === 2) {
    writeError(
      out,
      "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
    );
  } else if (isLetIn(request, 1, connection, server)) {
    writeSimple(out, "OK");
  } else {
    writeError(out, WRONG_PASSWORD);
  }
};

export const hello: LocalCommand = (request, connection, out, server) => {
  let protocol = connection.protocol;
  if (request.count >= 2) {
    const version = wholeNumber(argumentText(request, 1));
    if (Number.isNaN(version)) {
      writeError(out, "ERR Protocol version is not an integer or out of range");
      return;
    }
    if (version !== 2 && version !== 3) {
      writeError(out, "NOPROTO unsupported protocol version");
      return;
    }
    protocol = version;
  }
  for (let i = 2; i < request.count; i++) {
    const more = request.count - 1 - i;
    if (argumentIs(request, i, "AUTH") && more >= 2) {
      if (!isLetIn(request, i + 1, connection, server)) {
        writeError(out, WRONG_PASSWORD);
        return;
      }
      i += 2;
    } else if (argumentIs(request, i, "SETNAME") && more >= 1) {
      if (!nameConnection(request, i + 1, connection, out)) return;
      i++;
    } else {
      writeError(out, `ERR Syntax error in HELLO option '${untilNul(argumentText(request, i))}'`);
      return;
    }
  }
  if (!connection.authenticated) {
    writeError(
      out,
      "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> " +
        "option can be used to authenticate the client and select the RESP protocol version at the same time",
    );
    return;
  }
  connection.protocol = protocol;
  writeMapHeader(out, protocol, 7);
  writeBulkText(out, "server");
  writeBulkText(out, "redis");
  writeBulkText(out, "version");
  writeBulkText(out, REDIS_VERSION);
  writeBulkText(out, "proto");
  writeInteger(out, protocol);
  writeBulkText(out, "id");
  writeInteger(out, connection.id);
  writeBulkText(out, "mode");
  writeBulkText(out, "standalone");
  writeBulkText(out, "role");
  writeBulkText(out, "master");
  writeBulkText(out, "modules");
  writeArrayHeader(out, 0);
};

export const info: LocalCommand = (request, connection, out, server) => {
  const sections: string[] = [];
  for (let i = 1; i < request.count; i++) sections.push(argumentText(request, i));
  writeVerbatim(out, connection.protocol, infoText(server.info(), sections));
};

/** A command below a container, such as GETNAME of CLIENT. */
interface Subcommand {
  readonly arity: number;
  readonly run: LocalCommand;
}

/**
 * Makes the container: finds the subcommand, checks its arity, answers HELP from the table. Requests to which it objects
 * have to be refused before.
 */
function container(name: string, subcommands: Readonly<Record<string, Subcommand>>, bare?: LocalCommand): LocalCommand {
  const help = [
    `${name.toUpperCase()} <subcommand> [<arg> ...]. Subcommands are:`,
    ...Object.keys(subcommands),
    "HELP",
  ];
  const find = (request: Request): Subcommand | undefined => {
    const upper = argumentText(request, 1).toUpperCase();
    return Object.hasOwn(subcommands, upper) ? subcommands[upper] : undefined;
  };
  const isHelp = (request: Request): boolean => request.count === 2 && argumentIs(request, 1, "HELP");
  const objection = (request: Request): string | null => {
    if ((request.count === 1 && bare !== undefined) || isHelp(request)) return null;
    const subcommand = find(request);
    const word = argumentText(request, 1);
    if (subcommand === undefined) {
      return `ERR unknown subcommand '${untilNul(word).slice(0, 128)}'. Try ${name.toUpperCase()} HELP.`;
    }
    const { arity } = subcommand;
    const fits = arity >= 0 ? request.count === arity : request.count >= -arity;
    return fits ? null : `ERR wrong number of arguments for '${name}|${word.toLowerCase()}' command`;
  };
  const run: LocalCommand = (request, connection, out, server) => {
    if (request.count === 1 && bare !== undefined) {
      bare(request, connection, out, server);
    } else if (isHelp(request)) {
      writeArrayHeader(out, help.length);
      for (const line of help) writeSimple(out, line);
    } else {
      find(request)?.run(request, connection, out, server);
    }
  };
  return Object.assign(run, { objection });
}

export const client = container("client", {
  GETNAME: {
    arity: 2,
    run: (_request, connection, out) => {
      if (connection.name === "") writeNil(out, connection.protocol);
      else writeBulkText(out, connection.name);
    },
  },
  SETNAME: {
    arity: 3,
    run: (request, connection, out) => {
      if (nameConnection(request, 2, connection, out)) writeSimple(out, "OK");
    },
  },
  ID: { arity: 2, run: (_request, connection, out) => writeInteger(out, connection.id) },
  SETINFO: { arity: 4, run: setInfo },
  INFO: {
    arity: 2,
    run: (_request, connection, out, server) =>
      writeVerbatim(out, connection.protocol, clientLine(connection, server.nowMs(), "client|info")),
  },
  LIST: { arity: -2, run: listClients },
  "NO-EVICT": {
    arity: 3,
    run: (request, connection, out) => {
      connection.noEvict = switched(request, out) ?? connection.noEvict;
    },
  },
  "NO-TOUCH": {
    arity: 3,
    run: (request, connection, out) => {
      connection.noTouch = switched(request, out) ?? connection.noTouch;
    },
  },
});

/** Reads ON or OFF and answers; null when it is neither. */
function switched(request: Request, out: ByteWriter): boolean | null {
  const on = argumentIs(request, 2, "ON");
  if (!on && !argumentIs(request, 2, "OFF")) {
    writeError(out, "ERR syntax error");
    return null;
  }
  writeSimple(out, "OK");
  return on;
}

/** Longest name of a client or its library that is kept. */
const NAME_LENGTH_MAX = 256;

function isPlainWord(text: string): boolean {
  return text.length <= NAME_LENGTH_MAX && /^[!-~]*$/.test(text);
}

function nameConnection(request: Request, index: number, connection: Connection, out: ByteWriter): boolean {
  const name = argumentText(request, index);
  if (!isPlainWord(name)) {
    writeError(out, "ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
  }
  connection.name = name;
  return true;
}

function setInfo(request: Request, connection: Connection, out: ByteWriter): void {
  const attribute = argumentText(request, 2);
  const value = argumentText(request, 3);
  if (!argumentIs(request, 2, "LIB-NAME") && !argumentIs(request, 2, "LIB-VER")) {
    writeError(out, `ERR Unrecognized option '${untilNul(attribute).slice(0, 128)}'`);
  } else if (!isPlainWord(value)) {
    writeError(out, `ERR ${attribute} cannot contain spaces, newlines or special characters.`);
  } else {
    if (argumentIs(request, 2, "LIB-NAME")) connection.libraryName = value;
    else connection.libraryVersion = value;
    writeSimple(out, "OK");
  }
}

function listClients(request: Request, connection: Connection, out: ByteWriter, server: LocalServer): void {
  let ids: Set<number> | null = null;
  let none = false;
  if (request.count === 4 && argumentIs(request, 2, "TYPE")) {
    const type = argumentText(request, 3);
    if (!["normal", "master", "replica", "slave", "pubsub"].includes(type.toLowerCase())) {
      writeError(out, `ERR Unknown client type '${untilNul(type)}'`);
      return;
    }
    none = type.toLowerCase() !== "normal";
  } else if (request.count > 3 && argumentIs(request, 2, "ID")) {
    ids = new Set();
    for (let i = 3; i < request.count; i++) {
      const id = wholeNumber(argumentText(request, i));
      if (Number.isNaN(id)) {
        writeError(out, "ERR Invalid client ID");
        return;
      }
      ids.add(id);
    }
  } else if (request.count !== 2) {
    writeError(out, "ERR syntax error");
    return;
  }
  const now = server.nowMs();
  let text = "";
  if (!none) {
    for (const one of server.connections()) {
      if (ids === null || ids.has(one.id)) text += clientLine(one, now, one === connection ? "client|list" : "");
    }
  }
  writeVerbatim(out, connection.protocol, text);
}

function clientLine(one: Connection, nowMs: number, command: string): string {
  const seconds = (sinceMs: number): number => Math.max(0, Math.floor((nowMs - sinceMs) / 1000));
  const flags = `${one.noEvict ? "e" : ""}${one.noTouch ? "T" : ""}`;
  return (
    `id=${one.id} addr=${one.remote} name=${one.name} age=${seconds(one.openedAtMs)} idle=${seconds(one.lastAtMs)} ` +
    `flags=${flags === "" ? "N" : flags} db=0 sub=0 psub=0 ssub=0 multi=${one.transaction?.count ?? -1} qbuf=${one.inputBytes} ` +
    `pending=${one.orderedOpen + one.readsOpen} cmd=${command === "" ? one.lastCommand : command} user=${one.user} ` +
    `redir=-1 resp=${one.protocol} lib-name=${one.libraryName} lib-ver=${one.libraryVersion}\n`
  );
}

export const commandContainer = container(
  "command",
  {
    COUNT: { arity: 2, run: (_request, _connection, out, server) => writeInteger(out, server.commands.length) },
    DOCS: { arity: -2, run: documentCommands },
    INFO: { arity: -2, run: describeCommands },
    LIST: {
      arity: 2,
      run: (_request, _connection, out, server) => {
        writeArrayHeader(out, server.commands.length);
        for (const command of server.commands) writeBulkText(out, command.name);
      },
    },
  },
  (_request, connection, out, server) => {
    writeArrayHeader(out, server.commands.length);
    for (const command of server.commands) describeCommand(command, connection.protocol, out);
  },
);

function describeCommands(request: Request, connection: Connection, out: ByteWriter, server: LocalServer): void {
  const all = request.count === 2;
  writeArrayHeader(out, all ? server.commands.length : request.count - 2);
  if (all) for (const command of server.commands) describeCommand(command, connection.protocol, out);
  for (let i = 2; i < request.count; i++) {
    const command = named(server, argumentText(request, i));
    if (command === undefined) writeNilArray(out, connection.protocol);
    else describeCommand(command, connection.protocol, out);
  }
}

function named(server: LocalServer, name: string): CommandRow | undefined {
  const lower = name.toLowerCase();
  return server.commands.find((command) => command.name === lower);
}

/** Name, arity, flags, keys, categories, tips, key specifications, subcommands. */
function describeCommand(command: CommandRow, protocol: Protocol, out: ByteWriter): void {
  writeArrayHeader(out, 10);
  writeBulkText(out, command.name);
  writeInteger(out, command.arity);
  writeWords(command.flags, protocol, out);
  writeInteger(out, command.keyFirst);
  writeInteger(out, command.keyLast);
  writeInteger(out, command.keyStep);
  const categories = [command.flags.includes("fast") ? "@fast" : "@slow"];
  if (command.group === "string" || command.group === "generic") {
    categories.unshift(command.read ? "@read" : "@write", command.group === "string" ? "@string" : "@keyspace");
  } else if (command.group === "connection") {
    categories.push("@connection");
  } else if (command.group === "transactions") {
    categories.push("@transaction");
  }
  writeWords(categories, protocol, out);
  writeArrayHeader(out, 0);
  writeArrayHeader(out, 0);
  writeArrayHeader(out, 0);
}

function writeWords(words: readonly string[], protocol: Protocol, out: ByteWriter): void {
  writeSetHeader(out, protocol, words.length);
  for (const word of words) writeSimple(out, word);
}

function documentCommands(request: Request, connection: Connection, out: ByteWriter, server: LocalServer): void {
  const { protocol } = connection;
  let commands = server.commands;
  if (request.count > 2) {
    const names: string[] = [];
    for (let i = 2; i < request.count; i++) names.push(argumentText(request, i));
    commands = names.map((name) => named(server, name)).filter((command) => command !== undefined);
  }
  writeMapHeader(out, protocol, commands.length);
  for (const command of commands) {
    writeBulkText(out, command.name);
    writeMapHeader(out, protocol, 3);
    writeBulkText(out, "summary");
    writeBulkText(out, command.summary);
    writeBulkText(out, "since");
    writeBulkText(out, command.since);
    writeBulkText(out, "group");
    writeBulkText(out, command.group);
  }
}

export const config = container("config", {
  GET: {
    arity: -3,
    run: (request, connection, out, server) => {
      const patterns: string[] = [];
      for (let i = 2; i < request.count; i++) patterns.push(argumentText(request, i));
      const found = [...server.parameters].filter(([name]) => patterns.some((pattern) => globFits(pattern, name)));
      writeMapHeader(out, connection.protocol, found.length);
      for (const [name, value] of found) {
        writeBulkText(out, name);
        writeBulkText(out, value);
      }
    },
  },
});

/** A decimal 64-bit whole number as Redis reads it, rounded to a double, or NaN. */
export function wholeNumber(text: string): number {
  if (!/^(?:0|-?[1-9][0-9]{0,18})$/.test(text)) return NaN;
  const value = BigInt(text);
  return BigInt.asIntN(64, value) === value ? Number(value) : NaN;
}

/** Redis prints arguments as C strings, which end at a NUL. */
export function untilNul(text: string): string {
  const nul = text.indexOf("\0");
  return nul < 0 ? text : text.slice(0, nul);
}
