/**
 * What the compiler knows of a user-defined service: this file does not compile if a type is lost on the way from the
 * definition to the client, since an error that is expected and does not come is one.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServiceClient } from "#src/runtime/index.js";
import { args, defineService, type ServiceDefinition, table } from "#src/service/index.js";

interface Row {
  readonly owner: string;
  readonly tags: readonly string[];
}

const shop = defineService({
  name: "shop",
  tables: { rows: table<Row>(), counts: table<number>() },
  commands: {
    put: {
      keys: (a: { id: string; row: Row }) => [a.id],
      execute: ({ rows, counts }, a, ctx) => {
        rows.set(a.id, { owner: a.row.owner, tags: [String(ctx.time)] });
        // @ts-expect-error A table of numbers takes no text.
        if (a.id === "never") counts.set(a.id, "1");
        // @ts-expect-error There is no such table.
        void (() => void tables.nothing);
        return rows.get(a.id)?.tags.length ?? 0;
      },
    },
    find: { read: true, keys: (a: { id: string }) => [a.id], execute: ({ rows }, a) => rows.get(a.id) },
    peek: {
      read: true,
      keys: () => ["a"],
      // @ts-expect-error A command that only reads can't write.
      execute: ({ counts }) => counts.set("a", 1),
    },
    owners: {
      reads: "all",
      args: args<{ prefix: string }>(),
      partial: ({ rows }, a) => [...rows.range(a.prefix)].map(([, row]) => row.owner),
      combine: (parts: string[][]) => parts.flat(),
    },
    move: {
      keys: (a: { from: string; to: string }) => [a.from, a.to],
      likely: (a) => [a.from],
      check: ({ counts }, a, ctx) => (counts.get(a.from) ?? 0) > ctx.time,
      execute: ({ counts }, a) => counts.set(a.to, 1),
    },
    moveAll: {
      keys: "all",
      args: args<{ from: string }>(),
      // @ts-expect-error The argument has no such field.
      likely: (a) => [a.to],
      // @ts-expect-error A check can't write.
      check: ({ counts }, a) => counts.delete(a.from),
      execute: ({ counts }, a) => counts.delete(a.from),
    },
    reset: { keys: "all", execute: ({ counts }) => void counts.delete("a") },
  },
});

declare const tables: { readonly rows: unknown };
type Client = typeof shop extends ServiceDefinition<infer A, infer R> ? ServiceClient<A, R> : never;

/** Never called: it is there to be compiled. */
export async function calls(client: Client): Promise<void> {
  const tags: number = await client.put({ id: "a", row: { owner: "ana", tags: [] } });
  const row: Row | undefined = await client.find({ id: "a" });
  const owners: string[] = await client.owners({ prefix: "" });
  const nothing: void = await client.reset();
  await client.close();
  void [tags, row, owners, nothing];
  // @ts-expect-error The argument lacks a field.
  await client.put({ id: "a" });
  // @ts-expect-error The argument is missing.
  await client.find();
  // @ts-expect-error This command takes no argument.
  await client.reset({ id: "a" });
  // @ts-expect-error There is no such command.
  await client.remove({ id: "a" });
  // @ts-expect-error It is a number.
  const text: string = await client.put({ id: "a", row: { owner: "ana", tags: [] } });
  void text;
}

test("a definition has its commands' names", () => {
  assert.deepEqual(
    shop.commands.map(({ name, read }) => [name, read]),
    [
      ["put", false],
      ["find", true],
      ["peek", true],
      ["owners", true],
      ["move", false],
      ["moveAll", false],
      ["reset", false],
    ],
  );
});
