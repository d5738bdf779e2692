/** The interface lives beside its implementation; this file keeps the name that the commands know it by. */
export type { EntryStore } from "../byte-store/index.js";
