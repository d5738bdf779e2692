import { z } from "zod";
import { ConfigError, GROUPS_CONFIGURED_MAX } from "../../model/index.js";

const address = z.string().max(300);

const fileName = z.string().min(1).max(4096);
const tlsFiles = { cert: fileName, key: fileName, ca: fileName };

const securitySchema = z.strictObject({
  peers: z.strictObject(tlsFiles).optional(),
  clients: z.strictObject({ ...tlsFiles, clientCa: fileName.optional() }).optional(),
  passwords: z.record(z.string(), z.string().max(1024)).optional(),
  secret: z.string().optional(),
});

/** The shape of `cluster.json`. What the values mean to each other is `checkClusterConfig`'s business. */
const clusterSchema = z.strictObject({
  format: z.literal(1),
  clusterId: z.string(),
  service: z.string().min(1).max(4096),
  ordering: z.string().min(1).max(64),
  execution: z.string().min(1).max(64),
  reads: z.enum(["quorum", "ordered"]),
  groups: z.int().min(1).max(GROUPS_CONFIGURED_MAX),
  merge: z.enum(["points", "skips"]).optional(),
  barrier: z.enum(["run", "command"]).optional(),
  resubmit: z.enum(["replicas", "client"]).optional(),
  bounds: z
    .array(z.string().max(20))
    .max(GROUPS_CONFIGURED_MAX - 1)
    .optional(),
  durability: z.enum(["fsync", "os", "memory"]),
  replicas: z
    .array(
      z.strictObject({
        id: z.int().min(1),
        peer: address,
        client: address,
        resp: address.nullable(),
        admin: address.nullable().optional(),
        members: z
          .array(z.strictObject({ peer: address, client: address }))
          .max(GROUPS_CONFIGURED_MAX)
          .optional(),
      }),
    )
    .min(1)
    .max(31),
  security: securitySchema.optional(),
});

export type ClusterFile = z.infer<typeof clusterSchema>;

/** Checks the shape of a parsed `cluster.json`. Throws `ConfigError` naming the first offending field. */
export function parseClusterFile(file: string, value: unknown): ClusterFile {
  const format = (value as { format?: unknown } | null)?.format;
  if (typeof format === "number" && format > 1) {
    throw new ConfigError(`${file} has format ${format}, this version of synod reads format 1`);
  }
  const parsed = clusterSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue === undefined || issue.path.length === 0 ? "content" : issue.path.join(".");
  throw new ConfigError(`${file}: ${field}: ${issue?.message ?? "malformed"}`);
}
