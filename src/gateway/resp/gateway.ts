// Hot file: every chunk, request and reply passes here. Nothing may allocate per command, make a promise or a closure.
// Watched by bench/resp.mjs.
import { assert, ByteWriter, CapacityError, latin1 } from "../../base/index.js";
import {
  type ClientFailure,
  type GroupMapping,
  REPLY_HEADER_BYTES,
  replyCount,
  ReplyStatus,
  replyStatus,
  type Span,
} from "../../model/index.js";
import {
  type Authenticator,
  type ByteHandlers,
  type BytePort,
  type EventLog,
  FaultLog,
  type Scheduler,
  type Timer,
  type Turn,
} from "../../platform/index.js";
import type { BlockClient, BlockClientHandlers } from "../../runtime/index.js";
import {
  beginCommand,
  endCommand,
  replyValueKind,
  replyValueLength,
  REPLY_VALUE_HEADER_BYTES,
  ReplyKind,
  writeArguments,
} from "../../service/command/index.js";
import { KvOperation } from "../../service/kv/index.js";
import { Admission } from "./admission.js";
import { type BlockSlot, Entry, ENTRY_SPECIAL } from "./block-slot.js";
import { BlockStream, Next } from "./block-stream.js";
import { arityFits, type CommandRow, commandRows, findCommand, Mapping, Transactional } from "./command-table.js";
import { type RespLimits, resolveRespLimits } from "./config.js";
import { Connection, Wait } from "./connection.js";
import { FOR_ANSWERS, GroupStreams } from "./group-streams.js";
import {
  type Protocol,
  longestValue,
  writeArrayHeader,
  writeError,
  writeNilArray,
  writeServiceReply,
  writeSimple,
} from "./encoding.js";
import { auth, hello, type LocalServer, reset, untilNul, unwatch } from "./local-command.js";
import { argumentIs, argumentText, ParseOutcome, ParseProgress, RequestParser } from "./request.js";
import { type InfoFields, mergedInfo, REDIS_VERSION, shownText } from "./server-info.js";
import { storeObjection, valuesReturned, valueBytesWritten, writeStoreCommand } from "./store-command.js";
import { Transaction, writeWatchId } from "./transaction.js";

/** What a gateway works with. */
export interface RespGatewayInit {
  /** Where the clients arrive. The gateway starts and closes it. */
  readonly port: BytePort;
  /**
   * Makes the gateway's session of a stream of the cluster: of stream 0 only if there is one group, else of each from 0, which
   * is g_all's, to `mapping.groups`. The gateway closes them.
   */
  readonly client: (handlers: BlockClientHandlers, stream: number) => BlockClient;
  /** Which of a cluster's groups a command concerns; absent or null: there is one group. */
  readonly mapping?: GroupMapping | null | undefined;
  readonly scheduler: Scheduler;
  /** Sections of INFO, in addition to and before the gateway's own fields. Called for each INFO. */
  readonly info: () => InfoFields;
  readonly events: EventLog;
  /** With it a connection executes commands only after AUTH, HELLO … AUTH, or with a certificate that the port accepts. */
  readonly authenticator?: Authenticator | undefined;
  readonly limits?: Partial<RespLimits>;
}

/** Counters since the start. */
export interface RespGatewayStatus {
  readonly connections: number;
  readonly connectionsTotal: number;
  readonly connectionsRefused: number;
  readonly requests: number;
  /** What has gone through each stream: that of g_all and of each group, or the only one. */
  readonly streams: readonly { readonly blocks: number; readonly commands: number; readonly waitingBytes: number }[];
}

/** The RESP door of a replica. */
export interface RespGateway {
  /** Begins to accept connections. */
  start(): void;
  status(): RespGatewayStatus;
  /** Stops accepting, closes the connections and then the session. What is unanswered may or may not be applied. */
  close(done: () => void): void;
}

const TRY_AGAIN = "TRYAGAIN the command was certainly not applied: no leader took it before its deadline";
const INDETERMINATE = "INDETERMINATE the command may have been applied: the deadline passed before its reply came";

/** While connections wait for their clients to read, this often is looked whether they have. */
const DRAIN_POLL_MS = 50;
/** Parts of a block of which a client leaves much unread are asked for this far apart, if another waits for them too. */
const PART_WAIT_MS = 100;

/** Watches are kept where commands of all keys go: in g_all, or in the only stream. */
const WATCHES_STREAM = 0;

/** A chunk is taken into kept input in steps of at least this many bytes. */
const STEP_BYTES = 256;

/** Makes a gateway; see the folder's door. Throws `ConfigError` for limits that don't fit together. */
export function createRespGateway(init: RespGatewayInit): RespGateway {
  return new Gateway(init, resolveRespLimits(init.limits));
}

class Gateway implements RespGateway, ByteHandlers, LocalServer {
  readonly commands = commandRows;
  readonly parameters: ReadonlyMap<string, string>;
  readonly #admission: Admission;
  readonly #port: BytePort;
  readonly #faults: FaultLog;
  readonly #scheduler: Scheduler;
  readonly #hostInfo: () => InfoFields;
  readonly #limits: RespLimits;
  readonly #parser: RequestParser;
  /** By their number: that of g_all and those of the groups, or the only one. */
  readonly #streams: readonly BlockStream[];
  /** The first of them. */
  readonly #stream: BlockStream;
  /** Null if there is one group. */
  readonly #groups: GroupStreams | null;
  readonly #clients: readonly BlockClient[];
  readonly #turn: Turn;
  readonly #timer: Timer;
  readonly #startedAtMs: number;

  readonly #connections = new Map<number, Connection>();
  #connectionsTotal = 0;
  #connectionsRefused = 0;
  #requests = 0;
  #inputBytesTotal = 0;

  /** Connections whose next request may be executable now. */
  readonly #ready: Connection[] = [];
  /** Connections that wait for room, by the stream in which they do. */
  readonly #awaitingRoom: readonly Connection[][];
  readonly #awaitingDrain: Connection[] = [];
  /** Connections to end after this turn's output has been handed over. */
  readonly #ending: number[] = [];
  /** Where the replies go of connections that are gone. */
  readonly #discarded = new ByteWriter(4096);
  readonly #progress = new ParseProgress();
  /** Where the next reply of the block being answered begins. */
  #replyAt = 0;
  /** Where the length of the local reply in progress goes, if it queues behind unanswered commands; else -1. */
  #localAt = -1;
  #closed = false;

  constructor(init: RespGatewayInit, limits: RespLimits) {
    this.#port = init.port;
    this.#scheduler = init.scheduler;
    this.#hostInfo = init.info;
    this.#limits = limits;
    this.#parser = new RequestParser(limits);
    const clock = init.scheduler.clock;
    this.#faults = new FaultLog(init.events, clock);
    this.#startedAtMs = clock.monotonicMs();
    const { mapping = null } = init;
    this.#streams = Array.from(
      { length: mapping === null ? 1 : mapping.groups + 1 },
      (_, stream) =>
        new BlockStream(
          stream,
          limits,
          () => clock.monotonicMs(),
          (slot, replies, failure) => this.#answer(slot, replies, failure),
        ),
    );
    this.#stream = this.#streams[0] as BlockStream;
    this.#groups = mapping === null ? null : new GroupStreams(this.#streams, mapping);
    this.#awaitingRoom = this.#streams.map(() => []);
    this.#turn = init.scheduler.turn(() => this.#endTurn());
    this.#timer = init.scheduler.timer(() => this.#onTimer());
    this.parameters = parametersOf(limits);
    this.#admission = new Admission({
      authenticator: init.authenticator ?? null,
      limits,
      scheduler: init.scheduler,
      cut: (connection, reason) => this.#cut(connection, reason),
      decided: (connection) => {
        if (connection.wait !== Wait.verdict) return;
        this.#ready.push(connection);
        this.#proceed();
      },
    });
    this.#clients = this.#streams.map((stream, number) => {
      const handlers: BlockClientHandlers = {
        resolve: (token, replies) => {
          stream.resolve(token, replies);
          this.#proceed();
        },
        fail: (token, failure) => {
          stream.fail(token, failure);
          this.#proceed();
        },
        opened: () => this.#turn.request(),
      };
      const client = init.client(handlers, number);
      stream.attach(client);
      return client;
    });
  }

  start(): void {
    this.#port.start(this);
  }

  status(): RespGatewayStatus {
    return {
      connections: this.#connections.size,
      connectionsTotal: this.#connectionsTotal,
      connectionsRefused: this.#connectionsRefused,
      requests: this.#requests,
      streams: this.#streams.map(({ counts }) => counts),
    };
  }

  close(done: () => void): void {
    this.#closed = true;
    this.#timer.clear();
    this.#admission.close();
    this.#port.close(() => {
      let open = this.#clients.length;
      const closed = (): void => {
        if (--open === 0) done();
      };
      // Stream 0 has opened the sessions of all and ends them: it comes last.
      for (let stream = this.#clients.length - 1; stream >= 0; stream--) {
        (this.#clients[stream] as BlockClient).close(closed);
        (this.#streams[stream] as BlockStream).detach();
      }
    });
  }

  // --- the port ---------------------------------------------------------------------------------------------------

  onOpen(number: number, remote: string, certified = false): void {
    if (this.#connections.size >= this.#limits.connectionsMax) {
      this.#connectionsRefused++;
      const writer = this.#port.writer(number);
      if (writer !== null) writeError(writer, "ERR max number of clients reached");
      this.#end(number);
      return;
    }
    const connection = new Connection(number, ++this.#connectionsTotal, remote, this.nowMs());
    this.#connections.set(number, connection);
    this.#admission.arrived(connection, certified);
  }

  onBytes(number: number, bytes: Uint8Array, start: number, end: number): void {
    const connection = this.#connections.get(number);
    if (connection === undefined || connection.ending) return;
    connection.lastAtMs = this.nowMs();
    this.#receive(connection, bytes, start, end);
    this.#proceed();
  }

  onClose(number: number): void {
    const connection = this.#connections.get(number);
    if (connection === undefined) return;
    this.#forget(connection);
  }

  onEnd(number: number): void {
    const connection = this.#connections.get(number);
    if (connection === undefined || connection.ending) return;
    connection.inputEnded = true;
    this.#endAnswered(connection);
  }

  onDrain(number: number): void {
    const connection = this.#connections.get(number);
    if (this.#stream.parted) this.#turn.request();
    if (connection === undefined || connection.wait !== Wait.drain) return;
    this.#ready.push(connection);
    this.#proceed();
  }

  // --- input ------------------------------------------------------------------------------------------------------

  /** Executes what is complete and keeps the rest. */
  #receive(connection: Connection, bytes: Uint8Array, start: number, end: number): void {
    if (connection.wait === Wait.none && this.#port.inFlightBytes(connection.number) > this.#limits.outputBytesMax) {
      this.#await(connection, Wait.drain);
    }
    this.#begin(connection);
    let at = start;
    if (connection.wait === Wait.none && connection.inputBytes > 0)
      at = this.#completeKept(connection, bytes, start, end);
    if (connection.wait === Wait.none && connection.inputBytes === 0 && !connection.ending) {
      at = this.#execute(connection, bytes, at, end, this.#progress);
      if (at < end) {
        connection.progress.at = this.#progress.at;
        connection.progress.argumentsLeft = this.#progress.argumentsLeft;
        connection.progress.bytesNeeded = this.#progress.bytesNeeded;
      }
    }
    if (at < end && !connection.ending) this.#keep(connection, bytes, at, end);
  }

  /**
   * The kept input is the beginning of one request: adds of the chunk what that request needs, executes it and returns
   * the offset at which the next one begins.
   */
  #completeKept(connection: Connection, bytes: Uint8Array, start: number, end: number): number {
    const { progress } = connection;
    let at = start;
    while (at < end) {
      const missing = Math.max(progress.bytesNeeded - connection.inputBytes, STEP_BYTES);
      const step = Math.min(missing, end - at);
      this.#keep(connection, bytes, at, at + step);
      at += step;
      const input = connection.input;
      if (input === null || connection.closed) return end;
      if (input.length < progress.bytesNeeded) continue;
      const outcome = this.#parser.resume(input.bytes, 0, input.length, progress);
      if (outcome === ParseOutcome.incomplete) continue;
      if (outcome === ParseOutcome.error) {
        this.#refuse(connection);
        return end;
      }
      const next = this.#parser.next;
      if (this.#parser.count > 0 && !this.#executeRequest(connection)) return at;
      // What was kept behind the request came with this chunk and is read in place.
      at -= input.length - next;
      this.#drop(connection, input.length);
      return connection.ending ? end : at;
    }
    return at;
  }

  /**
   * Executes the requests in `[start, end)` until the input ends, or the connection waits or ends. Returns the offset of
   * what was not executed; `progress` tells about an incomplete request there.
   */
  #execute(connection: Connection, bytes: Uint8Array, start: number, end: number, progress: ParseProgress): number {
    const parser = this.#parser;
    let at = start;
    while (at < end) {
      const outcome = parser.parse(bytes, at, end, progress);
      if (outcome === ParseOutcome.incomplete) return at;
      if (outcome === ParseOutcome.error) {
        this.#refuse(connection);
        return end;
      }
      const next = parser.next;
      if (parser.count > 0 && !this.#executeRequest(connection)) return at;
      if (connection.ending) return end;
      at = next;
      if (connection.wait !== Wait.none) return at;
    }
    return end;
  }

  /** Goes on with the requests kept while the connection waited. */
  #resume(connection: Connection): void {
    connection.wait = Wait.none;
    const input = connection.input;
    if (input !== null && input.length > 0) {
      this.#begin(connection);
      this.#drop(connection, this.#execute(connection, input.bytes, 0, input.length, connection.progress));
    }
    if (connection.wait === Wait.none && connection.paused && !connection.closed) {
      connection.paused = false;
      this.#port.resume(connection.number);
    }
    this.#endAnswered(connection);
  }

  /** Ends a connection that sends nothing more once everything it sent is executed and answered. */
  #endAnswered(connection: Connection): void {
    if (!connection.inputEnded || connection.ending || connection.wait !== Wait.none || connection.slot !== null)
      return;
    connection.ending = true;
    this.#drop(connection, connection.inputBytes);
    this.#end(connection.number);
  }

  #keep(connection: Connection, bytes: Uint8Array, start: number, end: number): void {
    const count = end - start;
    const { strangerInputBytesMax } = this.#limits;
    if (
      !connection.authenticated &&
      connection.wait === Wait.none &&
      connection.inputBytes + count > strangerInputBytesMax
    ) {
      this.#cut(connection, "an unauthenticated request is too long");
      return;
    }
    if (this.#inputBytesTotal + count > this.#limits.inputBytesTotalMax) {
      this.#cut(connection, "the connections' unexecuted input exceeds its maximum");
      return;
    }
    connection.keepInput(bytes, start, end, this.#limits.inputBytesTotalMax);
    this.#inputBytesTotal += count;
    // Input of a waiting connection is not read on; that of an incomplete request is bounded by the parser.
    if (connection.wait !== Wait.none && !connection.paused && connection.inputBytes >= this.#limits.inputBytesMax) {
      connection.paused = true;
      this.#port.pause(connection.number);
    }
  }

  #drop(connection: Connection, count: number): void {
    const before = connection.inputBytes;
    connection.dropInput(count);
    this.#inputBytesTotal -= before - connection.inputBytes;
  }

  /** Begins to execute input of the connection: what it puts into blocks can be moved as long as nothing else comes between. */
  #begin(connection: Connection): void {
    if (this.#groups === null) this.#stream.mark(connection);
    else this.#groups.begin();
  }

  /** Has the connection wait; for room it waits in the stream of this number. */
  #await(connection: Connection, wait: Wait, stream = 0): void {
    connection.wait = wait;
    if (wait === Wait.room) (this.#awaitingRoom[stream] as Connection[]).push(connection);
    else if (wait === Wait.drain) this.#awaitingDrain.push(connection);
    // Who waits for answers or for a verdict is found when they come.
  }

  // --- requests ---------------------------------------------------------------------------------------------------

  /** Executes the parsed request. False if it has to wait: then nothing of it has happened. */
  #executeRequest(connection: Connection): boolean {
    const request = this.#parser;
    const { spans } = request;
    const row = findCommand(request.bytes, spans[0] as number, spans[1] as number);
    if (row === null || !arityFits(row, request.count)) {
      if (row?.operation === Transactional.exec && row.mapping === Mapping.transaction)
        return this.#execWrong(connection);
      return this.#rejected(connection, this.#executeWrong(connection, row));
    }
    if (!connection.authenticated && !row.flags.includes("no_auth")) {
      return this.#replyError(connection, "NOAUTH Authentication required.");
    }
    if (row.objection !== null) {
      const text = row.objection(request);
      if (text !== null) return this.#rejected(connection, this.#replyError(connection, text));
    }
    if (connection.transaction !== null && row.queues) return this.#queue(connection, connection.transaction, row);
    if (row.mapping === Mapping.transaction) return this.#executeTransactional(connection, row);
    if (row.run !== null) return this.#executeLocal(connection, row);
    const objection = storeObjection(row, request);
    if (objection !== null) return this.#replyError(connection, objection);
    const values = valuesReturned(row, request);
    const groups = this.#groups;
    const slot =
      groups === null ? this.#place(connection, row.read, values) : this.#placeByKeys(groups, connection, row, values);
    if (slot === null) return false;
    const before = slot.writer.length;
    writeStoreCommand(slot.writer, row, request);
    if (slot.writer.length - before > this.#stream.valueBytesKnown || row.operation === KvOperation.setRange) {
      this.#valueSeen(valueBytesWritten(row, request));
    }
    const shape = (connection.protocol === 3 ? Entry.resp3 : 0) | (row.read ? Entry.read : 0);
    if (groups === null) this.#stream.placed(slot, connection, shape, values);
    else this.#placed(slot, connection, shape, values);
    connection.lastCommand = row.name;
    this.#requests++;
    return true;
  }

  /**
   * The block for the connection's next command, or null, and then the connection waits. Where there are groups it is a command
   * that concerns all of them.
   */
  #place(connection: Connection, read: boolean, values: number): BlockSlot | null {
    if (this.#groups !== null) {
      return this.#placedOrWaits(this.#groups, connection, this.#groups.placeForAll(connection, values));
    }
    const slot = this.#stream.place(connection, read, values);
    if (slot === null) this.#await(connection, connection.readsOpen > 0 ? Wait.answers : Wait.room);
    return slot;
  }

  /** The same for a command of which the groups decide, unless the connection is bound to a stream anyway. */
  #placeByKeys(groups: GroupStreams, connection: Connection, row: CommandRow, values: number): BlockSlot | null {
    if (groups.staysInAll(connection)) return this.#place(connection, row.read, values);
    const { command } = groups;
    command.clear();
    writeStoreCommand(command, row, this.#parser);
    return this.#placedOrWaits(groups, connection, groups.placeCommand(connection, values));
  }

  #placedOrWaits(groups: GroupStreams, connection: Connection, slot: BlockSlot | null): BlockSlot | null {
    if (slot !== null) return slot;
    if (groups.lacking === FOR_ANSWERS) this.#await(connection, Wait.answers);
    else this.#await(connection, Wait.room, groups.lacking);
    return null;
  }

  #placed(slot: BlockSlot, connection: Connection, shape: number, values: number): void {
    (this.#streams[slot.stream] as BlockStream).placed(slot, connection, shape, values);
  }

  /** A value of so many bytes was written or returned: whichever way it went, all streams may return it. */
  #valueSeen(bytes: number): void {
    for (const stream of this.#streams) stream.valueSeen(bytes);
  }

  #executeLocal(connection: Connection, row: CommandRow): boolean {
    if ((row.run === unwatch || row.run === reset) && !this.#giveUpWatch(connection)) return false;
    if ((row.run === auth || row.run === hello) && !this.#admission.settled(connection, this.#parser)) {
      this.#await(connection, Wait.verdict);
      return false;
    }
    const out = this.#beginLocal(connection);
    if (out === null) return false;
    (row.run as NonNullable<CommandRow["run"]>)(this.#parser, connection, out, this);
    if (row.run === auth || row.run === hello) this.#admission.answered(connection);
    if (row.run === reset) this.#endTransaction(connection);
    this.#endLocal(connection, out);
    connection.lastCommand = row.name;
    this.#requests++;
    return true;
  }

  #executeWrong(connection: Connection, row: CommandRow | null): boolean {
    const request = this.#parser;
    if (row !== null) return this.#replyError(connection, `ERR wrong number of arguments for '${row.name}' command`);
    if (argumentIs(request, 0, "POST") || argumentIs(request, 0, "HOST:")) {
      // A browser made to talk to us: what follows could be commands hidden in a request's body.
      this.#faults.warn("resp.http-request", "http-request", { connection: connection.id, remote: connection.remote });
      connection.ending = true;
      this.#endLast(connection);
      return true;
    }
    const name = untilNul(argumentText(request, 0)).slice(0, 128);
    let shown = "";
    for (let i = 1; i < request.count && shown.length < 128; i++) {
      shown += `'${untilNul(argumentText(request, i)).slice(0, 128 - shown.length)}' `;
    }
    return this.#replyError(connection, `ERR unknown command '${name}', with args beginning with: ${shown}`);
  }

  #replyError(connection: Connection, text: string): boolean {
    const out = this.#beginLocal(connection);
    if (out === null) return false;
    writeError(out, text);
    this.#endLocal(connection, out);
    this.#requests++;
    return true;
  }

  /** The input is no request: the reply says why, in its turn, and the connection ends behind it. */
  #refuse(connection: Connection): void {
    const error = this.#parser.error;
    // What was found instead is the stranger's word; without it there are few reasons.
    this.#faults.warn("resp.protocol-error", error.replace(/,.*/s, ""), {
      connection: connection.id,
      remote: connection.remote,
      error: shownText(error),
    });
    connection.ending = true;
    this.#drop(connection, connection.inputBytes);
    const out = this.#localWriter(connection);
    writeError(out, error);
    this.#endLocal(connection, out);
  }

  // --- transactions -----------------------------------------------------------------------------------------------

  /** A request that could not be a command, and was answered if `done`, spoils the transaction it was meant for. */
  #rejected(connection: Connection, done: boolean): boolean {
    if (done && connection.transaction !== null) connection.transaction.aborted = true;
    return done;
  }

  #queue(connection: Connection, transaction: Transaction, row: CommandRow): boolean {
    const out = this.#beginLocal(connection);
    if (out === null) return false;
    const before = transaction.bytes;
    let refusal: string | null = null;
    if (this.#inputBytesTotal > this.#limits.inputBytesTotalMax) {
      refusal = "ERR too many bytes are queued in the transactions of all connections";
    } else if (this.#admission.required && (row.run === auth || row.run === hello)) {
      // The password would have to be checked when EXEC is answered, and nothing waits for that there.
      refusal = `ERR ${row.name.toUpperCase()} inside MULTI is not allowed`;
    } else {
      refusal = transaction.add(row, this.#parser);
    }
    this.#inputBytesTotal += transaction.bytes - before;
    if (refusal === null) {
      writeSimple(out, "QUEUED");
    } else {
      transaction.aborted = true;
      writeError(out, refusal);
    }
    this.#endLocal(connection, out);
    connection.lastCommand = row.name;
    this.#requests++;
    return true;
  }

  #executeTransactional(connection: Connection, row: CommandRow): boolean {
    const done = this.#transactional(connection, row.operation);
    if (done) connection.lastCommand = row.name;
    return done;
  }

  #transactional(connection: Connection, what: number): boolean {
    const { transaction } = connection;
    switch (what) {
      case Transactional.multi:
        if (transaction !== null) return this.#replyError(connection, "ERR MULTI calls can not be nested");
        if (!this.#replyOk(connection)) return false;
        connection.transaction = new Transaction();
        return true;
      case Transactional.watch:
        if (transaction !== null) return this.#replyError(connection, "ERR WATCH inside MULTI is not allowed");
        return this.#watch(connection);
      case Transactional.discard:
        if (transaction === null) return this.#replyError(connection, "ERR DISCARD without MULTI");
        if (!this.#giveUpWatch(connection) || !this.#replyOk(connection)) return false;
        this.#endTransaction(connection);
        return true;
      default:
        if (transaction === null) return this.#replyError(connection, "ERR EXEC without MULTI");
        return this.#exec(connection, transaction);
    }
  }

  #replyOk(connection: Connection): boolean {
    const out = this.#beginLocal(connection);
    if (out === null) return false;
    writeSimple(out, "OK");
    this.#endLocal(connection, out);
    this.#requests++;
    return true;
  }

  /** Sends the queued commands as one; the connection goes on at once unless some of them are executed here. */
  #exec(connection: Connection, transaction: Transaction): boolean {
    if (transaction.aborted || connection.watchLost || (transaction.count === 0 && connection.watch === 0)) {
      return this.#execNothing(connection, transaction);
    }
    if (!this.#watchKnown(connection)) return false;
    const slot = this.#place(connection, false, transaction.values);
    if (slot === null) return false;
    transaction.write(slot.writer, connection.watch);
    this.#valueSeen(transaction.longest);
    const shape =
      (connection.protocol === 3 ? Entry.resp3 : 0) | (transaction.hasLocals ? Entry.mixedExec : Entry.exec);
    this.#placed(slot, connection, shape, transaction.values);
    connection.watch = 0;
    this.#endTransaction(connection);
    if (transaction.hasLocals) {
      // They may change what follows, such as the protocol.
      connection.executing = transaction;
      this.#await(connection, Wait.answers);
    }
    this.#requests++;
    return true;
  }

  /** Answers an EXEC that executes nothing. */
  #execNothing(connection: Connection, transaction: Transaction): boolean {
    const lost = connection.watchLost;
    if (!this.#giveUpWatch(connection)) {
      connection.watchLost = lost;
      return false;
    }
    const out = this.#beginLocal(connection);
    if (out === null) {
      connection.watchLost = lost;
      return false;
    }
    if (transaction.aborted) writeError(out, "EXECABORT Transaction discarded because of previous errors.");
    else if (lost) writeNilArray(out, connection.protocol);
    else writeArrayHeader(out, 0);
    this.#endLocal(connection, out);
    this.#endTransaction(connection);
    this.#requests++;
    return true;
  }

  /** As in Redis, an EXEC with arguments ends the transaction too, and even without one it says so. */
  #execWrong(connection: Connection): boolean {
    if (!this.#giveUpWatch(connection)) return false;
    const why = "wrong number of arguments for 'exec' command";
    if (!this.#replyError(connection, `EXECABORT Transaction discarded because of: ${why}`)) return false;
    this.#endTransaction(connection);
    return true;
  }

  #endTransaction(connection: Connection): void {
    if (connection.transaction === null) return;
    this.#inputBytesTotal -= connection.transaction.bytes;
    connection.transaction = null;
  }

  #watch(connection: Connection): boolean {
    if (!this.#watchKnown(connection)) return false;
    const slot = this.#place(connection, false, 0);
    if (slot === null) return false;
    const { bytes, spans, count } = this.#parser;
    const at = beginCommand(slot.writer, KvOperation.watch, 0, count);
    writeWatchId(slot.writer, connection.watch);
    writeArguments(slot.writer, bytes, spans, 1, count);
    endCommand(slot.writer, at);
    this.#placed(slot, connection, (connection.protocol === 3 ? Entry.resp3 : 0) | Entry.watch, 0);
    connection.watchesOpen++;
    this.#requests++;
    return true;
  }

  /** False while the reply that has the id of the connection's watch has yet to come; then the connection waits. */
  #watchKnown(connection: Connection): boolean {
    if (connection.watchesOpen === 0) return true;
    this.#await(connection, Wait.answers);
    return false;
  }

  /** Lets the state forget what the connection watches. False if that has to wait. */
  #giveUpWatch(connection: Connection): boolean {
    if (!this.#watchKnown(connection)) return false;
    if (connection.watch !== 0) {
      const slot = this.#place(connection, false, 0);
      if (slot === null) return false;
      this.#unwatch(connection, slot);
    }
    connection.watchLost = false;
    return true;
  }

  #unwatch(connection: Connection, slot: BlockSlot): void {
    const at = beginCommand(slot.writer, KvOperation.unwatch, 0, 1);
    writeWatchId(slot.writer, connection.watch);
    endCommand(slot.writer, at);
    connection.watch = 0;
    this.#placed(slot, connection, Entry.silent, 0);
  }

  /** The watch of a connection that is gone; without room for the command it stays until newer ones need its place. */
  #unwatchGone(connection: Connection): void {
    if (connection.watch === 0 || this.#closed) return;
    // Where it has commands in the stream of a group, this comes again behind their answers.
    if (connection.slot !== null && connection.slot.stream !== WATCHES_STREAM) return;
    const slot = this.#stream.place(connection, false, 0);
    if (slot !== null) this.#unwatch(connection, slot);
    this.#turn.request();
  }

  /** An answer that is more than written to the client, who may be gone; `replies` is null for a failure. */
  #answerSpecial(
    connection: Connection,
    out: ByteWriter | null,
    shape: number,
    replies: Span | null,
    at: number,
    failure: ClientFailure | null,
  ): void {
    if ((shape & (Entry.exec | Entry.mixedExec)) !== 0) {
      const executing = (shape & Entry.mixedExec) !== 0 ? connection.executing : null;
      if (executing !== null) connection.executing = null;
      if (out === null) return;
      if (replies === null) writeFailure(out, false, failure);
      else if (replyValueKind(replies.view, at) === ReplyKind.nil) writeNilArray(out, protocolOf(shape));
      else if (executing === null) writeServiceReply(out, protocolOf(shape), replies.bytes, replies.view, at);
      else this.#executeQueued(connection, executing, out, replies, at);
    } else if ((shape & Entry.watch) !== 0) {
      connection.watchesOpen--;
      const known = replies !== null && replyValueKind(replies.view, at) === ReplyKind.integer;
      if (!known) connection.watchLost = true;
      else connection.watch = integerReply(replies, at);
      if (connection.closed) this.#unwatchGone(connection);
      if (out === null) return;
      if (known) writeSimple(out, "OK");
      else if (replies === null) writeFailure(out, false, failure);
      else writeServiceReply(out, protocolOf(shape), replies.bytes, replies.view, at);
    }
  }

  /** Writes the replies to a transaction, executing what it has that is not of the store in between. */
  #executeQueued(
    connection: Connection,
    transaction: Transaction,
    out: ByteWriter,
    { bytes, view }: Span,
    at: number,
  ): void {
    if (replyValueKind(view, at) !== ReplyKind.array) {
      return writeServiceReply(out, connection.protocol, bytes, view, at);
    }
    let item = at + REPLY_VALUE_HEADER_BYTES + 4;
    writeArrayHeader(out, transaction.count);
    for (let place = 0; place < transaction.count; place++) {
      const local = transaction.localAt(place);
      if (local !== undefined) {
        local.run(local.request, connection, out, this);
      } else {
        writeServiceReply(out, connection.protocol, bytes, view, item);
        item += replyValueLength(view, item);
      }
    }
  }

  // --- replies ----------------------------------------------------------------------------------------------------

  /** Where a reply made here goes, or null if too many of them wait already: then the connection waits too. */
  #beginLocal(connection: Connection): ByteWriter | null {
    const out = this.#localWriter(connection);
    if (out.length < (connection.slot === null ? this.#limits.outputBytesMax : this.#limits.localBytesMax)) return out;
    if (connection.slot !== null) out.length = this.#localAt;
    this.#await(connection, connection.slot === null ? Wait.drain : Wait.answers);
    return null;
  }

  /** Straight to the client if all its commands are answered, else behind the newest that is not. */
  #localWriter(connection: Connection): ByteWriter {
    const slot = connection.slot;
    if (slot !== null) {
      this.#localAt = slot.locals.skip(4);
      return slot.locals;
    }
    this.#localAt = -1;
    this.#discarded.clear();
    return this.#port.writer(connection.number) ?? this.#discarded;
  }

  #endLocal(connection: Connection, out: ByteWriter): void {
    const slot = connection.slot;
    if (slot !== null) {
      out.view.setUint32(this.#localAt, out.length - this.#localAt - 4, true);
      slot.append(connection, connection.ending ? Entry.local | Entry.last : Entry.local);
    } else if (connection.ending) {
      this.#end(connection.number);
    }
  }

  /** Ends a connection without a reply of its own, behind those it is still owed. */
  #endLast(connection: Connection): void {
    const out = this.#localWriter(connection);
    this.#endLocal(connection, out);
  }

  /**
   * Gives the replies of a block, or the next part of them, in its order to the connections of its commands. Where a part
   * ended is kept in the slot.
   */
  #answer(slot: BlockSlot, replies: Span | null, failure: ClientFailure | null): void {
    let left = slot.commands - slot.answered;
    if (replies !== null) {
      const count = replyCount(replies.view, replies.start);
      const part = replyStatus(replies.view, replies.start) === ReplyStatus.split;
      assert(part ? count < left : count === left, "a block's replies are as many as its commands");
      left = count;
    }
    this.#replyAt = replies === null ? 0 : replies.start + REPLY_HEADER_BYTES;
    while (slot.runAt < slot.runs) {
      const connection = slot.runConnections[slot.runAt] as Connection;
      const stop = slot.runStart + (slot.runEntries[slot.runAt] as number);
      const before = slot.answered;
      left = this.#answerRun(slot, connection, stop, left, replies, failure);
      this.#answered(slot, connection, slot.answered - before);
      if (slot.entryAt < stop) break;
      slot.runStart = stop;
      slot.runAt++;
    }
    this.#turn.request();
  }

  /** Answers entries of one connection up to `stop`, or until `left` commands are answered; returns how many remain. */
  #answerRun(
    slot: BlockSlot,
    connection: Connection,
    stop: number,
    left: number,
    replies: Span | null,
    failure: ClientFailure | null,
  ): number {
    const { shapes, locals } = slot;
    let out = connection.closed ? null : this.#port.writer(connection.number);
    for (;;) {
      try {
        while (slot.entryAt < stop) {
          const shape = shapes[slot.entryAt] as number;
          if ((shape & Entry.local) !== 0) {
            const start = slot.localAt + 4;
            const end = start + locals.view.getUint32(slot.localAt, true);
            slot.entryAt++;
            slot.localAt = end;
            if ((shape & Entry.last) !== 0) this.#end(connection.number);
            out?.copy(locals.bytes, start, end);
            continue;
          }
          if (left === 0) return 0;
          left--;
          slot.entryAt++;
          slot.answered++;
          if (replies === null) {
            if ((shape & ENTRY_SPECIAL) !== 0) this.#answerSpecial(connection, out, shape, null, 0, failure);
            else if (out !== null) writeFailure(out, slot.read || (shape & Entry.read) !== 0, failure);
            continue;
          }
          const { bytes, view } = replies;
          const at = this.#replyAt;
          this.#replyAt = at + replyValueLength(view, at);
          if (this.#replyAt - at > this.#stream.valueBytesKnown) this.#valueSeen(longestValue(view, at));
          if ((shape & ENTRY_SPECIAL) !== 0) this.#answerSpecial(connection, out, shape, replies, at, null);
          else if (out !== null) writeServiceReply(out, protocolOf(shape), bytes, view, at);
        }
        return left;
      } catch (error) {
        if (!(error instanceof CapacityError)) throw error;
        // The client does not read what it asked for: what follows of its run is skipped like that of a closed connection.
        this.#cut(connection, "its unread output exceeds its maximum");
        out = null;
      }
    }
  }

  #answered(slot: BlockSlot, connection: Connection, count: number): void {
    if (slot.read) connection.readsOpen -= count;
    else connection.orderedOpen -= count;
    if (connection.orderedOpen > 0 || connection.readsOpen > 0) return;
    connection.slot = null;
    if (connection.closed) this.#unwatchGone(connection);
    if (connection.wait === Wait.answers) this.#ready.push(connection);
    else this.#endAnswered(connection);
  }

  // --- turns ------------------------------------------------------------------------------------------------------

  /** Lets the connections go on that can, and asks for the end of the turn. Runs behind every event. */
  #proceed(): void {
    this.#wakeForRoom();
    // Resuming may make others ready; the list is taken in order until nothing is left of it.
    for (let i = 0; i < this.#ready.length; i++) {
      const connection = this.#ready[i] as Connection;
      if (!connection.closed) this.#resume(connection);
    }
    this.#ready.length = 0;
    this.#turn.request();
  }

  /** Takes the connections that wait for room where there is some to those that can go on; true if there were any. */
  #wakeForRoom(): boolean {
    let woken = false;
    for (let i = 0; i < this.#streams.length; i++) {
      const waiting = this.#awaitingRoom[i] as Connection[];
      if (waiting.length === 0 || !(this.#streams[i] as BlockStream).room) continue;
      for (const connection of waiting) this.#ready.push(connection);
      waiting.length = 0;
      woken = true;
    }
    return woken;
  }

  #submit(): void {
    for (const stream of this.#streams) stream.submit();
  }

  #endTurn(): void {
    this.#submit();
    if (this.#wakeForRoom()) {
      this.#proceed();
      this.#submit();
    }
    this.#port.flush();
    this.#stream.askOn(this.#next);
    for (const number of this.#ending) this.#port.disconnect(number, null);
    this.#ending.length = 0;
    this.#setTimer();
  }

  /** A timer runs only while the cluster does not take blocks, or clients do not read. */
  #setTimer(): void {
    let oldest = Infinity;
    for (const stream of this.#streams) oldest = Math.min(oldest, stream.oldestAtMs);
    const poll = this.#awaitingDrain.length > 0 || this.#stream.parted ? this.nowMs() + DRAIN_POLL_MS : Infinity;
    const at = Math.min(oldest + this.#limits.deadlineMs, poll);
    if (at < Infinity && !this.#closed) this.#timer.set(at);
  }

  /**
   * What becomes of the rest of a block, by whether the clients that wait for it have read what they got. One that does not
   * read must not stop those with which it shares the block: these are served, more slowly once much is unread, and the port
   * ends what leaves too much. In a hurry it is ended here.
   */
  readonly #next = (slot: BlockSlot, hurry: boolean): Next => {
    const { outputBytesMax } = this.#limits;
    let unreadMax = 0;
    let open = false;
    let waiting = false;
    for (let run = slot.runAt; run < slot.runs; run++) {
      const connection = slot.runConnections[run] as Connection;
      if (connection.closed) continue;
      const unread = this.#port.inFlightBytes(connection.number);
      if (unread > outputBytesMax && hurry) {
        this.#cut(connection, "it does not read its replies");
        continue;
      }
      open = true;
      if (unread <= outputBytesMax) waiting = true;
      unreadMax = Math.max(unreadMax, unread);
    }
    if (!open) return Next.none;
    if (!waiting) return Next.wait;
    const slowly = unreadMax > 8 * outputBytesMax;
    return slowly && this.nowMs() - slot.partAtMs < PART_WAIT_MS ? Next.wait : Next.part;
  };

  #onTimer(): void {
    const bornAtMs = this.nowMs() - this.#limits.deadlineMs;
    for (const stream of this.#streams) stream.expire(bornAtMs);
    const waiting = this.#awaitingDrain.splice(0);
    for (const connection of waiting) {
      if (connection.closed || connection.wait !== Wait.drain) continue;
      if (this.#port.inFlightBytes(connection.number) > this.#limits.outputBytesMax)
        this.#awaitingDrain.push(connection);
      else this.#ready.push(connection);
    }
    this.#proceed();
  }

  // --- the end of a connection ------------------------------------------------------------------------------------

  /** Ends a connection after this turn's output. */
  #end(number: number): void {
    this.#ending.push(number);
    this.#turn.request();
  }

  /** Ends a connection at once, with a line in the port's log; its commands in flight still execute. */
  #cut(connection: Connection, reason: string): void {
    this.#forget(connection);
    this.#port.disconnect(connection.number, reason);
  }

  #forget(connection: Connection): void {
    connection.closed = true;
    connection.ending = true;
    this.#admission.left(connection);
    this.#drop(connection, connection.inputBytes);
    this.#connections.delete(connection.number);
    this.#endTransaction(connection);
    this.#unwatchGone(connection);
  }

  // --- what local commands see ------------------------------------------------------------------------------------

  get authenticates(): boolean {
    return this.#admission.required;
  }

  logIn(connection: Connection): boolean {
    return this.#admission.logIn(connection);
  }

  logOut(connection: Connection): void {
    this.#admission.left(connection);
    this.#admission.arrived(connection, connection.certified);
  }

  connections(): Iterable<Connection> {
    return this.#connections.values();
  }

  nowMs(): number {
    return this.#scheduler.clock.monotonicMs();
  }

  info(): InfoFields {
    const own: InfoFields = {
      server: {
        redis_version: REDIS_VERSION,
        redis_mode: "standalone",
        uptime_in_seconds: Math.floor((this.nowMs() - this.#startedAtMs) / 1000),
      },
      clients: {
        connected_clients: this.#connections.size,
        maxclients: this.#limits.connectionsMax,
        blocked_clients: 0,
      },
      persistence: { loading: 0 },
      stats: {
        total_connections_received: this.#connectionsTotal,
        rejected_connections: this.#connectionsRefused,
        total_commands_processed: this.#requests,
      },
      ...(this.#groups === null ? {} : { streams: this.#streamInfo() }),
      replication: { role: "master", connected_slaves: 0 },
    };
    return mergedInfo(own, this.#hostInfo());
  }

  /** What has gone through the streams of this gateway: how much was of one group shows how well the groups suit the load. */
  #streamInfo(): Record<string, string> {
    const lines = this.#streams.map(({ counts: { blocks, commands, waitingBytes } }, stream): [string, string] => [
      stream === 0 ? "g_all" : `g_${stream}`,
      `commands=${commands},blocks=${blocks},waiting_bytes=${waitingBytes}`,
    ]);
    return Object.fromEntries(lines);
  }
}

function protocolOf(shape: number): Protocol {
  return (shape & Entry.resp3) !== 0 ? 3 : 2;
}

/** The whole number that an integer reply holds. */
function integerReply({ bytes, view }: Span, at: number): number {
  return Number(latin1(bytes, at + REPLY_VALUE_HEADER_BYTES, at + replyValueLength(view, at)));
}

/** A read has no effect that anybody could be in doubt about, whatever became of its block. */
function writeFailure(out: ByteWriter, read: boolean, failure: ClientFailure | null): void {
  writeError(out, read || failure === "try-again" || failure === "misrouted" ? TRY_AGAIN : INDETERMINATE);
}

/** What CONFIG GET shows: the parameters that clients and benchmarks ask about. None can be set. */
function parametersOf(limits: RespLimits): ReadonlyMap<string, string> {
  return new Map([
    ["appendonly", "yes"],
    ["databases", "1"],
    ["maxclients", String(limits.connectionsMax)],
    ["maxmemory", "0"],
    ["maxmemory-policy", "noeviction"],
    ["proto-max-bulk-len", String(limits.bulkBytesMax)],
    ["save", ""],
    ["timeout", "0"],
  ]);
}
