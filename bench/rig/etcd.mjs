// Three etcd servers, and a client of them that costs as little as it can: gRPC is HTTP/2 with a five-byte prefix before each
// message, and the messages of a put are two fields long, so Node's own HTTP/2 and a few bytes by hand are enough.
import { connect, constants } from "node:http2";
import { join } from "node:path";
import { eventually, findProgram, freePorts, removeDirectory, scratchDirectory, start, stop } from "./process.mjs";

const REPLICAS = 3;

/** Protocol buffers: field `number` holding bytes, of at most 127 bytes. */
function bytesField(number, bytes) {
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

/** The fields of a message: a BigInt for each varint, a Buffer for each run of bytes; of repeated ones the last. */
function fieldsOf(message) {
  const fields = new Map();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++];
      if (byte === undefined) throw new Error("a message ends within a number");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = Number(varint());
    if ((tag & 7) === 0) fields.set(tag >> 3, varint());
    else if ((tag & 7) === 2) {
      const length = Number(varint());
      fields.set(tag >> 3, message.subarray(at, at + length));
      at += length;
    } else throw new Error(`a field of wire type ${tag & 7}`);
  }
  return fields;
}

/** A request as it goes over the wire: not compressed, its length, its bytes. */
function framed(message) {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  return frame;
}

/** The client of one server. */
export class EtcdClient {
  #session;

  constructor(address) {
    this.#session = connect(`http://${address}`, { settings: { enablePush: false, initialWindowSize: 1 << 20 } });
    this.#session.on("error", () => undefined);
  }

  /** A put of key and value, at most 100 bytes each, ready to be sent any number of times. */
  static put(key, value) {
    return framed(Buffer.concat([bytesField(1, key), bytesField(2, value)]));
  }

  /** Sends a put; `done` gets true when it is acknowledged. */
  put(request, done) {
    const stream = this.#request("/etcdserverpb.KV/Put");
    let status = "";
    // A failure may come without a body, its status then stands in the only headers.
    stream.on("response", (headers) => (status = headers["grpc-status"] ?? status));
    stream.on("trailers", (headers) => (status = headers["grpc-status"] ?? status));
    stream.on("error", () => undefined);
    stream.on("close", () => done(status === "0"));
    stream.resume();
    stream.end(request);
  }

  /** Whether this server leads. Rejects if it does not answer. */
  leads() {
    return new Promise((resolve, reject) => {
      const stream = this.#request("/etcdserverpb.Maintenance/Status");
      const parts = [];
      stream.on("data", (part) => parts.push(part));
      stream.on("error", reject);
      stream.on("end", () => {
        const body = Buffer.concat(parts);
        if (body.length <= 5) return reject(new Error("etcd does not tell its status"));
        const fields = fieldsOf(body.subarray(5));
        const member = fieldsOf(fields.get(1)).get(2);
        resolve(member !== undefined && fields.get(4) === member);
      });
      stream.end(framed(Buffer.alloc(0)));
    });
  }

  close() {
    this.#session.destroy();
  }

  #request(path) {
    return this.#session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: path,
      "content-type": "application/grpc",
      te: "trailers",
    });
  }
}

/** Starts three servers with their defaults (each commit synced); resolves with the leader's address. */
export async function startEtcd() {
  const program = findProgram("etcd");
  const directory = scratchDirectory();
  const ports = await freePorts(2 * REPLICAS);
  const client = (i) => `http://127.0.0.1:${ports[2 * i]}`;
  const peer = (i) => `http://127.0.0.1:${ports[2 * i + 1]}`;
  const members = Array.from({ length: REPLICAS }, (_, i) => `e${i}=${peer(i)}`).join(",");
  const servers = Array.from({ length: REPLICAS }, (_, i) => {
    const flags = {
      name: `e${i}`,
      "data-dir": join(directory, `e${i}`),
      "listen-client-urls": client(i),
      "advertise-client-urls": client(i),
      "listen-peer-urls": peer(i),
      "initial-advertise-peer-urls": peer(i),
      "initial-cluster": members,
      "initial-cluster-state": "new",
      "initial-cluster-token": `bench-${process.pid}-${ports[0]}`,
      "log-level": "error",
      logger: "zap",
    };
    return start(
      program,
      Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]),
    );
  });
  const addresses = servers.map((_, i) => `127.0.0.1:${ports[2 * i]}`);
  const leader = await eventually("an election of etcd", 20_000, async () => {
    for (const address of addresses) {
      const asked = new EtcdClient(address);
      const leads = await asked.leads().finally(() => asked.close());
      if (leads) return address;
    }
    return null;
  });
  return {
    leader,
    pids: servers.map(({ child }) => child.pid),
    async stop() {
      await Promise.all(servers.map((server) => stop(server, "SIGKILL")));
      removeDirectory(directory);
    },
  };
}
