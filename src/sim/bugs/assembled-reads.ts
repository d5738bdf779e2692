import { ByteWriter } from "../../base/index.js";
import {
  beginReply,
  BlockKind,
  endReply,
  REPLY_HEADER_BYTES,
  replySequence,
  replySession,
  ReplyStatus,
  type SessionId,
  type Span,
} from "../../model/index.js";
import type { BlockClient, BlockClientInit } from "../../runtime/index.js";
import { BTREE_COMMAND_BYTES, BtreeOperation, REPLY_VALUE_HEADER_BYTES, ReplyKind } from "../../service/index.js";

/** Keys of the workload's history are multiples of this; a key may be given up for the next one, so many times at most. */
const SPACING = 64;
const LIVES_MAX = 71;
/** Few are given up so often. */
const LIVES_READ = 5;
/** Tokens of the reads of one key, above those of the workload. */
const TOKENS_FROM = 1_000_000_000;

/** A range that is being put together. */
interface Assembly {
  readonly token: number;
  readonly keys: readonly number[];
  readonly pairs: Map<number, number>;
  left: number;
  failed: boolean;
  /** Of the last answer. */
  session: SessionId;
  sequence: number;
}

/** A client whose ranges are read key by key, each through the stream of its group. */
export function assembledReads(
  init: Omit<BlockClientInit, "port">,
  connect: (init: Omit<BlockClientInit, "port">) => BlockClient,
): BlockClient {
  const parts = new Map<number, { readonly assembly: Assembly; readonly key: number }>();
  let tokens = TOKENS_FROM;
  const finish = (assembly: Assembly): void => {
    if (--assembly.left > 0) return;
    if (assembly.failed) return init.handlers.fail(assembly.token, "indeterminate");
    const writer = new ByteWriter();
    const reply = beginReply(writer, assembly.session, assembly.sequence, ReplyStatus.ok, BlockKind.commands);
    const found = assembly.keys.filter((key) => assembly.pairs.has(key));
    writer.u32(REPLY_VALUE_HEADER_BYTES + 4 + 16 * found.length);
    writer.u32(ReplyKind.pairs);
    writer.u32(found.length);
    for (const key of found) for (const word of [key, 0, assembly.pairs.get(key) as number, 0]) writer.u32(word);
    endReply(writer, reply, 1);
    init.handlers.resolve(assembly.token, { bytes: writer.bytes, view: writer.view, start: 0, end: writer.length });
  };
  const client = connect({
    ...init,
    handlers: {
      ...init.handlers,
      opened: () => init.handlers.opened(),
      resolve: (token: number, replies: Span) => {
        const part = parts.get(token);
        if (part === undefined) return init.handlers.resolve(token, replies);
        parts.delete(token);
        part.assembly.session = replySession(replies.view, replies.start);
        part.assembly.sequence = replySequence(replies.view, replies.start);
        const at = replies.start + REPLY_HEADER_BYTES;
        if (replies.view.getUint32(at + 4, true) !== ReplyKind.nil) {
          part.assembly.pairs.set(part.key, replies.view.getUint32(at + REPLY_VALUE_HEADER_BYTES, true));
        }
        finish(part.assembly);
      },
      fail: (token, failure) => {
        const part = parts.get(token);
        if (part === undefined) return init.handlers.fail(token, failure);
        parts.delete(token);
        part.assembly.failed = true;
        finish(part.assembly);
      },
    },
  });
  const submit: BlockClient["submit"] = (token, read, commands, bytes, view, start, end, deadline) => {
    const keys = commands === 1 ? keysOf(view, start) : [];
    if (keys.length < 2) return client.submit(token, read, commands, bytes, view, start, end, deadline);
    const assembly: Assembly = {
      token,
      keys,
      pairs: new Map(),
      left: keys.length,
      failed: false,
      session: 0,
      sequence: 0,
    };
    for (const key of keys) {
      const writer = new ByteWriter();
      const length = BTREE_COMMAND_BYTES[BtreeOperation.read] as number;
      writer.u32(length);
      writer.u32(BtreeOperation.read);
      for (let word = 2; word < length / 4; word++) writer.u32(word === 2 ? key : 0);
      parts.set(++tokens, { assembly, key });
      client.submit(tokens, true, 1, writer.bytes, writer.view, 0, writer.length, deadline);
    }
  };
  return new Proxy(client, { get: (target, name) => (name === "submit" ? submit : Reflect.get(target, name, target)) });
}

/** The keys of the history in a range; none for another command. */
function keysOf(view: DataView, at: number): number[] {
  if (view.getUint32(at + 4, true) !== BtreeOperation.range) return [];
  const [low, high] = [view.getUint32(at + 8, true), view.getUint32(at + 16, true)];
  const keys: number[] = [];
  for (let key = Math.ceil(low / SPACING) * SPACING; key <= high; key += SPACING) {
    if ((key / SPACING) % LIVES_MAX < LIVES_READ) keys.push(key);
  }
  return keys;
}
