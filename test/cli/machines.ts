/** Clusters made as on several machines: a file for all of them, certificates, a password, and a data directory for each replica. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Redis } from "ioredis";
import { freePorts } from "#src/runtime/index.js";
import { SynodProcess } from "./synod-process.js";

export interface ClusterFile {
  readonly clusterId: string;
  readonly replicas: {
    readonly id: number;
    peer: string;
    client: string;
    resp: string;
    admin?: string;
    members?: { peer: string; client: string }[];
  }[];
  readonly security: { passwords: Record<string, string>; clients?: object; peers?: object; secret?: string };
}

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function runSynod(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const process = new SynodProcess(args, env);
  const code = await process.exit();
  return { code, stdout: process.stdout, stderr: process.stderr };
}

/** A directory with the file of a cluster, its certificates, and a password; one data directory for each replica. */
export class Machines {
  readonly directory: string;
  readonly file: string;
  readonly ca: string;
  readonly #running: SynodProcess[] = [];

  private constructor(context: TestContext) {
    this.directory = mkdtempSync(join(tmpdir(), "synod-machines-"));
    this.file = join(this.directory, "cluster.json");
    this.ca = join(this.directory, "tls", "ca.crt");
    context.after(async () => {
      for (const replica of this.#running) if (!replica.ended) replica.kill("SIGKILL");
      await Promise.all(this.#running.map((replica) => replica.exit()));
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  /** `flags` are further ones of `config new`. */
  static async make(context: TestContext, flags: readonly string[] = []): Promise<Machines> {
    const machines = new Machines(context);
    const hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].flatMap((host) => ["--host", host]);
    await machines.succeed(["config", "new", "--cluster", machines.file, ...hosts, ...flags], {
      SYNOD_PASSWORD: "right",
    });
    // One machine stands for all: other ports, since the fixed ones may be taken.
    const config = machines.read();
    const members = config.replicas[0]?.members?.length ?? 0;
    const ports = await freePorts((4 + 2 * members) * config.replicas.length);
    for (const replica of config.replicas) {
      for (const port of ["peer", "client", "resp", "admin"] as const) replica[port] = `127.0.0.1:${ports.pop()}`;
      for (const member of replica.members ?? []) {
        for (const port of ["peer", "client"] as const) member[port] = `127.0.0.1:${ports.pop()}`;
      }
    }
    machines.write(config);
    await machines.succeed(["certificates", "--cluster", machines.file]);
    return machines;
  }

  get config(): ClusterFile {
    return this.read();
  }

  read(file = this.file): ClusterFile {
    return JSON.parse(readFileSync(file, "utf8")) as ClusterFile;
  }

  write(config: object, file = this.file): void {
    writeFileSync(file, JSON.stringify(config));
  }

  data(id: number): string {
    return join(this.directory, `data-${id}`);
  }

  async succeed(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
    const { code, stdout, stderr } = await runSynod(args, env);
    assert.equal(code, 0, `synod ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  init(id: number, ...flags: readonly string[]): Promise<Outcome> {
    return runSynod(["init", String(id), "--cluster", this.file, "--data", this.data(id), ...flags]);
  }

  start(id: number): SynodProcess {
    const replica = new SynodProcess(["replica", String(id), "--data", this.data(id), "--json"]);
    this.#running.push(replica);
    return replica;
  }

  async startAll(): Promise<SynodProcess[]> {
    for (const id of [1, 2, 3]) assert.equal((await this.init(id)).code, 0);
    const replicas = [1, 2, 3].map((id) => this.start(id));
    for (const replica of replicas) await replica.ready();
    return replicas;
  }

  redis(id: number, options: { username?: string; password?: string; cert?: string } = {}): Redis {
    const { resp } = this.config.replicas[id - 1]!;
    const [host, port] = resp.split(":") as [string, string];
    const { cert, ...login } = options;
    const tls = { host, ca: readFileSync(this.ca, "utf8"), ...(cert === undefined ? {} : this.certificate(cert)) };
    const client = new Redis({ host, port: Number(port), tls, ...login, lazyConnect: true, retryStrategy: null });
    client.on("error", () => undefined);
    return client;
  }

  certificate(name: string): { cert: string; key: string } {
    const read = (end: string): string => readFileSync(join(this.directory, "tls", `${name}.${end}`), "utf8");
    return { cert: read("crt"), key: read("key") };
  }
}
