import { realpathSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ConfigError, type ServiceModule, type SharedServiceModule } from "../../model/index.js";
import {
  definedService,
  isServiceDefinition,
  type ServiceDefinition,
  sharedDefinedService,
  type UserCode,
} from "../../service/index.js";
import { listenForDefinitions } from "./announcement.js";
import { installDeterminismGuard, type Loading, type Violation } from "./determinism-guard.js";
import { refuseOutsideModules } from "./module-graph.js";

/** A module, and which of its services if it defines several: `./bank.js` or `./bank.js#bank`. */
const SPECIFIER = /^(.+?\.[cm]?[jt]s)(?:#([A-Za-z][A-Za-z0-9-]*))?$/;

/** True if the name of a service is that of a module rather than of a service built in. */
export function isServiceModule(name: string): boolean {
  return SPECIFIER.test(name) || /[\\/]/.test(name);
}

/**
 * A service's module as a cluster records it: its absolute path, and `#name` if that was given. Throws `ConfigError` if
 * there is no such file.
 */
export function serviceModuleOf(name: string): string {
  const { path, service } = parsed(name);
  return `${realFile(resolve(path))}${service === null ? "" : `#${service}`}`;
}

/** The module of a definition, in the form that a cluster records. Throws `ConfigError` if it has none. */
export function moduleOfDefinition(definition: ServiceDefinition): string {
  const { module, name } = definition;
  if (module === null) {
    throw new ConfigError(
      `service ${name} does not say where it is defined, so replicas can't load it; give defineService the field ` +
        "module: import.meta.url (module: __filename in CommonJS)",
    );
  }
  return serviceModuleOf(`${fileURLToPath(module)}#${name}`);
}

/** Who is told of what goes wrong in code of the user. */
export interface ServiceObserver {
  readonly onRejection?: (reason: string) => void;
  readonly onViolation?: (violation: Violation) => void;
}

/**
 * Loads the service of a module, behind the determinism guard, which stays for the life of the thread. Rejects with
 * `ConfigError` if the module can't be loaded, uses what differs between replicas, or defines no service or several.
 *
 * A promise that a command makes, drops and that fails would end the thread, of every replica, each time it is replayed:
 * from now on `told.onRejection` is told instead.
 */
export async function loadServiceModule(name: string, told: ServiceObserver = {}): Promise<ServiceModule> {
  const { definition, userCode } = await loadDefinition(name, told);
  return definedService(definition, userCode);
}

/** The same for a thread of a replica with several groups. */
export async function loadSharedServiceModule(name: string, told: ServiceObserver = {}): Promise<SharedServiceModule> {
  const { definition, userCode } = await loadDefinition(name, told);
  return sharedDefinedService(definition, userCode);
}

/** A definition as its module made it, and what else the module exports. */
export interface LoadedDefinition {
  readonly definition: ServiceDefinition;
  readonly exported: Readonly<Record<string, unknown>>;
  /** What the guard watches. */
  readonly userCode: UserCode;
  readonly file: string;
}

/** As `loadServiceModule`, for whoever wants more of the module than its service. */
export async function loadDefinition(
  name: string,
  { onRejection, onViolation }: ServiceObserver = {},
): Promise<LoadedDefinition> {
  const { path, service } = parsed(name);
  const file = realFile(path);
  const url = pathToFileURL(file).href;
  const userCode: UserCode = { running: null, violation: null };
  const announced: ServiceDefinition[] = [];
  const suspended = new Promise<Readonly<Record<string, unknown>>>((goOn) => {
    listenForDefinitions({ defined: (definition) => announced.push(definition), suspended: () => goOn({}) });
  });
  process.on("unhandledRejection", (reason) =>
    onRejection?.(reason instanceof Error ? reason.message : String(reason)),
  );
  refuseOutsideModules(url);
  const loading: Loading = { now: true };
  const refused = { at: null as string | null };
  installDeterminismGuard(userCode, loading, (violation) => {
    refused.at = violation.at;
    onViolation?.(violation);
  });
  let exported: Readonly<Record<string, unknown>>;
  try {
    userCode.running = `service module ${file}`;
    exported = await Promise.race([import(url) as Promise<Readonly<Record<string, unknown>>>, suspended]);
    if (userCode.violation !== null) throw userCode.violation;
  } catch (error) {
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const place = refused.at === null ? "" : ` (at ${refused.at})`;
    throw new ConfigError(`service module ${file} can't be loaded: ${reason}${place}`);
  } finally {
    loading.now = false;
    userCode.running = null;
    userCode.violation = null;
  }
  return { definition: chosen(file, service, url, exported, announced), exported, userCode, file };
}

function chosen(
  file: string,
  service: string | null,
  url: string,
  exported: Readonly<Record<string, unknown>>,
  announced: readonly ServiceDefinition[],
): ServiceDefinition {
  // A CommonJS module has its exports in those of `default` too.
  const values = [...Object.values(exported), ...Object.values(Object(exported["default"]) as object)];
  const found = new Set([...values.filter(isServiceDefinition), ...announced.filter(({ module }) => module === url)]);
  const candidates = [...found].filter(({ name }) => service === null || name === service);
  const [first] = candidates;
  if (first !== undefined && candidates.length === 1) return first;
  if (first === undefined) {
    throw new ConfigError(
      service === null
        ? `service module ${file} exports nothing that defineService made`
        : `service module ${file} defines no service "${service}"; it defines ${names([...found]) || "none"}`,
    );
  }
  throw new ConfigError(
    `service module ${file} defines several services, ${names(candidates)}; say which one, as in ${file}#${first.name}`,
  );
}

const names = (definitions: readonly ServiceDefinition[]): string => definitions.map(({ name }) => name).join(", ");

function parsed(name: string): { readonly path: string; readonly service: string | null } {
  const match = SPECIFIER.exec(name);
  if (match === null) {
    throw new ConfigError(`service "${name}" is no module: its name ends with .js, .mjs, .cjs or .ts`);
  }
  return { path: match[1] as string, service: match[2] ?? null };
}

/** The file without symbolic links, as the module itself sees its place. */
function realFile(path: string): string {
  try {
    const file = realpathSync(path);
    if (statSync(file).isFile()) return file;
  } catch {
    // Said below.
  }
  throw new ConfigError(`service module ${path} is not there`);
}
