/**
 * Loads of the nemesis: clients over real connections that write a history of what they asked and were told, one load for each
 * kind of service.
 */
import { BankLoad, bankModule } from "./bank-load.js";
import { BtreeLoad } from "./btree-load.js";
import { KvLoad } from "./kv-load.js";
import type { LoadInit, RecordedLoad } from "./recorded-load.js";

export type { LoadCounts, LoadInit, LoadVerdict, RecordedLoad } from "./recorded-load.js";

export interface LoadKind {
  readonly name: string;
  /** What `synod up --service` takes. */
  readonly service: string;
  create(init: LoadInit): RecordedLoad;
}

export const loadKinds: Readonly<Record<string, LoadKind>> = {
  kv: { name: "kv", service: "kv", create: (init) => new KvLoad(init) },
  btree: { name: "btree", service: "btree", create: (init) => new BtreeLoad(init) },
  bank: { name: "bank", service: bankModule, create: (init) => new BankLoad(init) },
};

/** The load for a service by its name or, for the bank, the path of its module; undefined if there is none. */
export function loadKind(service: string): LoadKind | undefined {
  return loadKinds[/(^|\/)bank\.js$/.test(service) ? "bank" : service];
}
