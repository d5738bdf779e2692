/** Reads TypeScript text as far as the tidy rules need it: without comments, without strings, or only its imports. */

/** A slash after one of these characters, or after one of these words, begins a regular expression. */
const beforeRegExp = /(?:^|[([{},;:=!&|?+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|void|delete))\s*$/;

/**
 * Replaces comments, and unless they are kept the contents of strings, templates and regular expressions, by spaces. Line
 * breaks stay, so positions in the result are positions in the text. Code inside `${}` of a template is kept as code.
 */
export function strip(text: string, keepStrings = false): string {
  let out = "";
  let at = 0;
  /** For each template we are inside of: the depth of braces opened since its last `${`. */
  const templates: number[] = [];
  const copy = (end: number): void => {
    out += text.slice(at, end);
    at = end;
  };
  const blank = (end: number): void => {
    out += text.slice(at, end).replace(/[^\n]/g, " ");
    at = end;
  };
  const literal = (end: number): void => (keepStrings ? copy(end) : blank(end));

  const template = (): void => {
    let end = at;
    while (end < text.length && text[end] !== "`" && !text.startsWith("${", end)) end += text[end] === "\\" ? 2 : 1;
    literal(Math.min(end, text.length));
    if (text[at] === "`") copy(at + 1);
    else if (at < text.length) {
      copy(at + 2);
      templates.push(0);
    }
  };

  while (at < text.length) {
    const character = text[at];
    const depth = templates.at(-1);
    if (text.startsWith("//", at)) {
      const end = text.indexOf("\n", at);
      blank(end === -1 ? text.length : end);
    } else if (text.startsWith("/*", at)) {
      const end = text.indexOf("*/", at + 2);
      blank(end === -1 ? text.length : end + 2);
    } else if (character === '"' || character === "'") {
      let end = at + 1;
      while (end < text.length && text[end] !== character && text[end] !== "\n") end += text[end] === "\\" ? 2 : 1;
      copy(at + 1);
      literal(Math.min(end, text.length));
      copy(Math.min(at + 1, text.length));
    } else if (character === "`") {
      copy(at + 1);
      template();
    } else if (character === "/" && beforeRegExp.test(out.slice(-80))) {
      const match = /^\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/.exec(text.slice(at));
      if (match === null) copy(at + 1);
      else literal(at + match[0].length);
    } else if (character === "}" && depth === 0) {
      templates.pop();
      copy(at + 1);
      template();
    } else {
      if (depth !== undefined && character === "{") templates[templates.length - 1] = depth + 1;
      if (depth !== undefined && character === "}") templates[templates.length - 1] = depth - 1;
      copy(at + 1);
    }
  }
  return out;
}

/** The line of a position, counted from 1. */
export function lineOf(text: string, position: number): number {
  return text.slice(0, position).split("\n").length;
}

export interface Import {
  readonly line: number;
  /** The specifier as written, or null for a dynamic import whose target is computed. */
  readonly from: string | null;
}

/** Every module that a text imports, re-exports or loads dynamically, types included. */
export function importsOf(text: string): Import[] {
  const code = strip(text, true);
  const bare = strip(text);
  const found: Import[] = [];
  for (const match of code.matchAll(/\b(?:from|import)\s*(?:\(\s*)?(["'])([^"'\n]*)\1/g)) {
    // The same words inside a string are blank in the fully stripped text.
    if (/^(?:from|import)/.test(bare.slice(match.index))) {
      found.push({ line: lineOf(text, match.index), from: match[2] ?? "" });
    }
  }
  for (const match of bare.matchAll(/(?<![.\w$])import\s*\((?!\s*["'])/g)) {
    found.push({ line: lineOf(text, match.index), from: null });
  }
  return found.sort((a, b) => a.line - b.line);
}
