/** Links of the documentation lead somewhere, and the commands it shows exist. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, test } from "node:test";
import { filesBelow, read, root } from "./markdown.js";

const pages = ["README.md", "CHANGELOG.md", ...filesBelow("docs", ".md")];

const withoutFences = (text: string): string => text.replace(/^```[\s\S]*?^```$/gm, "");

/** Targets of links, those with a scheme left out. */
function linksIn(text: string): string[] {
  return [...withoutFences(text).matchAll(/\]\(([^()\s]+)\)/g)]
    .map(([, target]) => target!)
    .filter((target) => !/^[a-z][a-z+.-]*:/i.test(target));
}

/** The anchors of a page, as the usual renderers make them of headings. */
function anchorsOf(text: string): Set<string> {
  return new Set(
    [...withoutFences(text).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .trim()
        .replaceAll(/\s/g, "-"),
    ),
  );
}

function linkObjections(page: string, text: string): string[] {
  return linksIn(text).flatMap((target) => {
    const [file = "", anchor] = target.split("#");
    const path = file === "" ? page : normalize(join(dirname(page), file));
    if (path !== page && !existsSync(join(root, path))) return [`${page} links to ${target}, which is not there`];
    if (anchor === undefined || !path.endsWith(".md")) return [];
    const at = path === page ? text : read(path);
    return anchorsOf(at).has(anchor) ? [] : [`${page} links to ${target}, and ${path} has no such heading`];
  });
}

/** Words of every shown call of the program: in fences of shell text, behind prompts and assignments, up to the end of the command. */
function callsIn(text: string): string[][] {
  const calls: string[][] = [];
  for (const [, language, body] of text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)) {
    if (!["", "sh", "bash", "shell", "console"].includes(language!)) continue;
    for (const line of body!.split("\n")) {
      const command = /^(?:[$>] )?(?:\w+=\S+ )*(?:npx )?(?:bin\/)?synod(?= |$)(.*)$/.exec(line)?.[1];
      if (command === undefined) continue;
      calls.push(
        command
          .split(/ [|>&#;]| 2>/)[0]!
          .split(/\s+/)
          .filter((word) => word !== ""),
      );
    }
  }
  return calls;
}

const helps = new Map<string, string>();

/** What `--help` says of a command; "" if there is no such command. */
function help(command: readonly string[]): string {
  const key = command.join(" ");
  let text = helps.get(key);
  if (text === undefined) {
    const run = spawnSync(process.execPath, [join(root, "bin", "synod"), ...command, "--help"], { encoding: "utf8" });
    assert.equal(run.status, 0, `synod ${key} --help: ${run.stderr}`);
    text = run.stdout.startsWith(`Usage: synod ${key}`) ? run.stdout : "";
    helps.set(key, text);
  }
  return text;
}

function callObjections(page: string, call: readonly string[]): string[] {
  const shown = `${page} shows "synod ${call.join(" ")}"`;
  const command: string[] = [];
  let text = help([]);
  for (const word of call) {
    if (!new RegExp(`^ {2}${word.replace(/\W/g, "\\$&")}(?= |$)`, "m").test(text.split("\nCommands:\n")[1] ?? ""))
      break;
    command.push(word);
    text = help(command);
  }
  const flags = call.filter((word) => word.startsWith("-")).map((word) => word.split("=")[0]!);
  if (command.length === 0 && call.some((word) => !word.startsWith("-"))) return [`${shown}, which is no command`];
  return flags
    .filter((flag) => !new RegExp(`(?:^ {2}|, )${flag}(?=[ ,]|$)`, "m").test(text))
    .map((flag) => `${shown}, which has no ${flag}`);
}

describe("links in the documentation", () => {
  test("resolve", () => {
    assert.ok(pages.length >= 8, pages.join(" "));
    assert.deepEqual(
      pages.flatMap((page) => linkObjections(page, read(page))),
      [],
    );
  });

  test("are objected to when they do not", () => {
    const text = "[a](a.md) [b](#b) [c](errors.md#nothing) [d](https://example.org/d) [e](../README.md)\n# A: `b`\n";
    assert.deepEqual(
      linkObjections("docs/x.md", text).map((line) => line.split(" ")[3]),
      ["a.md,", "#b,", "errors.md#nothing,"],
    );
    assert.deepEqual(linkObjections("docs/x.md", "[a](#a-b)\n## A: `b`\n```\n[f](g.md)\n```\n"), []);
  });
});

describe("commands in the documentation", () => {
  test("are known to --help, with their flags", () => {
    const calls = pages.flatMap((page) => callsIn(read(page)).map((call) => ({ page, call })));
    assert.ok(calls.length >= 5, `found ${calls.length}`);
    assert.deepEqual(
      calls.flatMap(({ page, call }) => callObjections(page, call)),
      [],
    );
  });

  test("are objected to when they are not", () => {
    const text = [
      "```sh",
      "$ bin/synod up --data d --jsno   # comment --not-a-flag",
      "SYNOD_PORT=1 npx synod config print --config=c.json | grep --color port",
      "synod frobnicate --help",
      "synod --version",
      "```",
      "```json",
      "synod nothing",
      "```",
    ].join("\n");
    const calls = callsIn(text);
    assert.equal(calls.length, 4);
    assert.deepEqual(
      calls.flatMap((call) => callObjections("x.md", call)),
      [
        'x.md shows "synod up --data d --jsno", which has no --jsno',
        'x.md shows "synod frobnicate --help", which is no command',
      ],
    );
  });
});
