/** A reply as a test compares it: its mark, and its line, text, or items. A nil has null. */
export interface RespReply {
  readonly mark: string;
  readonly value: string | null | readonly RespReply[];
}

/** Reads exactly `count` replies of one byte a character; null while they are not all there. */
export function readReplies(text: string, count: number): RespReply[] | null {
  const reader = { text, at: 0 };
  const replies: RespReply[] = [];
  for (let i = 0; i < count; i++) {
    const reply = readReply(reader);
    if (reply === null) return null;
    replies.push(reply);
  }
  if (reader.at !== text.length) throw new Error(`${count} replies leave ${JSON.stringify(text.slice(reader.at))}`);
  return replies;
}

function readReply(reader: { readonly text: string; at: number }): RespReply | null {
  const { text } = reader;
  const mark = text.charAt(reader.at);
  const end = text.indexOf("\r\n", reader.at);
  if (mark === "" || end < 0) return null;
  const line = text.slice(reader.at + 1, end);
  reader.at = end + 2;
  if (mark === "+" || mark === "-" || mark === ":" || mark === "_") return { mark, value: line };
  const length = Number(line);
  if (length < 0) return { mark, value: null };
  if (mark === "$" || mark === "=") {
    if (text.length < reader.at + length + 2) return null;
    const value = text.slice(reader.at, reader.at + length);
    reader.at += length + 2;
    return { mark, value };
  }
  const items: RespReply[] = [];
  for (let left = mark === "%" ? 2 * length : length; left > 0; left--) {
    const item = readReply(reader);
    if (item === null) return null;
    items.push(item);
  }
  return { mark, value: items };
}
