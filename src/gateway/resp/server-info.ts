import { decodeUtf8, encodeUtf8, latin1 } from "../../base/index.js";

/** What INFO shows: sections of fields, such as `{ keyspace: { db0: "keys=3,expires=0,avg_ttl=0" } }`. */
export interface InfoFields {
  readonly [section: string]: Readonly<Record<string, string | number>>;
}

/** The version of Redis whose words and shapes we answer with; clients choose features by it. */
export const REDIS_VERSION = "7.0.15";

/**
 * INFO's text: the named sections (in any case; "default", "all" and "everything" are all of them) in the order in which
 * they are defined. Names that do not exist show nothing.
 */
export function infoText(fields: InfoFields, sections: readonly string[]): string {
  const wanted = new Set(sections.map((section) => section.toLowerCase()));
  const all = wanted.size === 0 || wanted.has("default") || wanted.has("all") || wanted.has("everything");
  const parts: string[] = [];
  for (const [section, entries] of Object.entries(fields)) {
    if (!all && !wanted.has(section.toLowerCase())) continue;
    const lines = Object.entries(entries).map(([name, value]) => `${name}:${oneLine(String(value))}\r\n`);
    parts.push(`# ${section.charAt(0).toUpperCase()}${section.slice(1)}\r\n${lines.join("")}`);
  }
  const text = parts.join("\r\n");
  const bytes = encodeUtf8(text);
  return latin1(bytes, 0, bytes.length);
}

/** Later fields stand for earlier ones of the same section and name. */
export function mergedInfo(own: InfoFields, hosts: InfoFields): InfoFields {
  const merged: Record<string, Readonly<Record<string, string | number>>> = { ...own };
  for (const [section, entries] of Object.entries(hosts)) {
    const name = section.toLowerCase();
    merged[name] = { ...merged[name], ...entries };
  }
  return merged;
}

function oneLine(text: string): string {
  return text.replace(/[\r\n]+/g, " ");
}

/** True if `text` fits the glob `pattern` of `*`, `?` and characters, in any case. */
export function globFits(pattern: string, text: string): boolean {
  // Two cursors and one place to return to: linear but for the stars, of which only the last is ever tried again.
  const [glob, word] = [pattern.toLowerCase(), text.toLowerCase()];
  let [at, from, star, starFrom] = [0, 0, -1, 0];
  while (from < word.length) {
    if (glob[at] === "*") {
      star = at++;
      starFrom = from;
    } else if (at < glob.length && (glob[at] === "?" || glob[at] === word[from])) {
      at++;
      from++;
    } else if (star >= 0) {
      at = star + 1;
      from = ++starFrom;
    } else {
      return false;
    }
  }
  while (glob[at] === "*") at++;
  return at === glob.length;
}

/** Text of a peer for the log: printable and short. */
export function shownText(text: string): string {
  const bytes = Uint8Array.from(text.slice(0, 128), (character) => character.charCodeAt(0) & 0xff);
  return decodeUtf8(bytes).replace(/\p{C}/gu, ".");
}
