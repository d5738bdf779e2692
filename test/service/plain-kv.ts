/** kv on entries that are kept as plainly as can be. */
import type { ServiceModule } from "#src/model/index.js";
import { Kv } from "#src/service/kv/service.js";
import { PlainStore } from "./plain-store.js";

export const plainKv: ServiceModule = { name: "kv", create: () => new Kv(new PlainStore()) };
