/** Who gets in over TLS, as whom, and what strangers can take: DESIGN section 8. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectPlain } from "node:net";
import { after, describe, test } from "node:test";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { ByteWriter, encodeUtf8 } from "#src/base/index.js";
import {
  type Authenticator,
  clusterKey,
  type FramePort,
  HelloRole,
  type ListenDone,
  replicaNamed,
  replicaUri,
  SystemScheduler,
  TcpBytePort,
  TcpDialler,
  TcpListener,
  TcpPeers,
  TlsCredentials,
  type TlsPem,
  writeHello,
} from "#src/platform/index.js";
import { Authority, noOpenssl } from "./certificates.js";
import { framePortSuite, type FramePortPair, Lines, Recorder, send, untilRecorded } from "./frame-port.suite.js";

const clusterId = "0123456789abcdef";
const otherClusterId = "fedcba9876543210";
const scheduler = new SystemScheduler();

function bound(port: { listen(done: ListenDone): void }): Promise<string> {
  return new Promise((resolve, reject) =>
    port.listen((error, address) => (error === null ? resolve(address) : reject(error))),
  );
}
const closed = (...ports: { close(done: () => void): void }[]): Promise<unknown> =>
  Promise.all(ports.map((port) => new Promise<void>((resolve) => port.close(resolve))));

/** Waits for a log line of one of these events; logs have no events of their own, so it looks again each turn. */
async function untilLogged(lines: Lines, event: string): Promise<Readonly<Record<string, unknown>>> {
  for (;;) {
    const found = lines.of(event)[0];
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe("replicaNamed", () => {
  const uri = `URI:${replicaUri(clusterId, 3)}`;
  for (const [what, names, expected] of [
    ["the URI alone", uri, 3],
    ["the URI among others", `DNS:r3.example, ${uri}, IP Address:10.0.0.3`, 3],
    ["nothing", undefined, 0],
    ["a host only", "DNS:r3.example", 0],
    ["another cluster", `URI:${replicaUri(otherClusterId, 3)}`, 0],
    ["two replicas", `${uri}, URI:${replicaUri(clusterId, 4)}`, 0],
    ["a number out of range", `URI:synod://${clusterId}/replica/64`, 0],
    ["a number with more behind it", `${uri}0x`, 0],
    ["the URI inside the name of a host", `DNS:"a, ${uri}, b"`, 0],
  ] as const) {
    test(what, () => assert.equal(replicaNamed(names, clusterId), expected));
  }
});

describe("TLS", { skip: noOpenssl }, () => {
  if (noOpenssl !== false) return;
  const authority = new Authority();
  const stranger = new Authority();
  after(() => {
    authority.remove();
    stranger.remove();
  });
  const named = (id: number, cluster = clusterId): readonly string[] => [
    `URI:${replicaUri(cluster, id)}`,
    "IP:127.0.0.1",
    "DNS:localhost",
  ];
  const certificates = { r1: authority.issue(named(1)), r2: authority.issue(named(2)), r3: authority.issue(named(3)) };
  const client = authority.issue(["DNS:some.client"]);
  const server: TlsPem = authority.pem(certificates.r1);
  const trusting: TlsPem = { cert: null, key: null, ca: authority.cert };

  framePortSuite({
    name: "TLS, client and listener",
    async open(inFlightBytesMax): Promise<FramePortPair> {
      const components = { scheduler, events: new Lines() };
      const options = { inFlightBytesMax };
      const tls = new TlsCredentials({ ...server, ca: null });
      const b = new TcpListener({ ...components, self: 1, clusterId, listen: "127.0.0.1:0", tls, options });
      const addresses = [await bound(b)];
      const trust = new TlsCredentials(trusting);
      const a = new TcpDialler({ ...components, clusterId, addresses, seed: 1, tls: trust, options });
      return { a, b, until: untilRecorded };
    },
  });

  framePortSuite({
    name: "TLS, replica and replica",
    async open(inFlightBytesMax): Promise<FramePortPair> {
      const shared = { scheduler, events: new Lines(), clusterId, clusterChecksum: 7, options: { inFlightBytesMax } };
      const peers = new Map<number, string>();
      const make = (self: 1 | 2): TcpPeers => {
        const tls = new TlsCredentials(authority.pem(certificates[`r${self}`]));
        return new TcpPeers({ ...shared, self, incarnation: self, listen: "127.0.0.1:0", peers, seed: self, tls });
      };
      const [b, a] = [make(1), make(2)];
      peers.set(1, await bound(b)).set(2, await bound(a));
      return { a, b, until: untilRecorded };
    },
  });

  describe("a replica lets only the right replica in as a peer", () => {
    async function lower(): Promise<{ port: TcpPeers; address: string; recorder: Recorder; lines: Lines }> {
      const lines = new Lines();
      const peers = new Map([[2, "127.0.0.1:1"]]);
      const port = new TcpPeers({
        scheduler,
        events: lines,
        clusterId,
        clusterChecksum: 7,
        self: 1,
        incarnation: 1,
        seed: 1,
        peers,
        listen: "127.0.0.1:0",
        tls: new TlsCredentials(server),
      });
      const address = await bound(port);
      const recorder = new Recorder();
      port.start(recorder);
      return { port, address, recorder, lines };
    }

    async function higher(
      address: string,
      tls: TlsPem | null,
      self = 2,
    ): Promise<{ port: TcpPeers; recorder: Recorder; lines: Lines }> {
      const lines = new Lines();
      const port = new TcpPeers({
        scheduler,
        events: lines,
        clusterId,
        clusterChecksum: 7,
        self,
        incarnation: 5,
        seed: 2,
        peers: new Map([[1, address]]),
        listen: "127.0.0.1:0",
        tls: tls === null ? undefined : new TlsCredentials(tls),
      });
      await bound(port);
      const recorder = new Recorder();
      port.start(recorder);
      return { port, recorder, lines };
    }

    test("its own certificate", async () => {
      const a = await lower();
      const b = await higher(a.address, authority.pem(certificates.r2));
      await untilRecorded(() => a.recorder.link === 2 && b.recorder.link === 1, [a.recorder, b.recorder]);
      await closed(a.port, b.port);
    });

    for (const [what, pem, refusal] of [
      ["no certificate", (): TlsPem => trusting, /not accepted/],
      ["one of another authority", (): TlsPem => ({ ...authority.pem(stranger.issue(named(2))) }), /not accepted/],
      ["that of another replica", (): TlsPem => authority.pem(certificates.r3), /names no other replica/],
      ["its own again", (): TlsPem => authority.pem(certificates.r1), /names no other replica/],
      ["that of a client", (): TlsPem => authority.pem(client), /names no other replica/],
      [
        "that of another cluster's replica",
        (): TlsPem => authority.pem(authority.issue(named(2, otherClusterId))),
        /names no other replica/,
      ],
      ["an expired one", (): TlsPem => authority.pem(authority.issue(named(2), -1)), /CERT_HAS_EXPIRED/],
    ] as const) {
      test(what, async () => {
        const a = await lower();
        const b = await higher(a.address, pem());
        const line = await untilLogged(a.lines, "connection-refused");
        assert.match(String(line["detail"]), refusal);
        assert.equal(a.recorder.told.length + b.recorder.told.length, 0);
        await closed(a.port, b.port);
      });
    }

    test("a replica that claims to be another", async () => {
      const a = await lower();
      // Replica 2 by its certificate, replica 3 by its words: what the words alone could do without the certificate.
      const b = await higher(a.address, authority.pem(certificates.r2), 3);
      const line = await untilLogged(a.lines, "connection-refused");
      assert.match(String(line["detail"]), /says to be replica 3, its certificate is that of replica 2/);
      assert.equal(a.recorder.told.length + b.recorder.told.length, 0);
      await closed(a.port, b.port);
    });

    test("the one who dials looks as closely: another replica on the address", async () => {
      const a = await lower();
      const lines = new Lines();
      // Replica 3 expects replica 2 where replica 1 is.
      const port = new TcpPeers({
        scheduler,
        events: lines,
        clusterId,
        clusterChecksum: 7,
        self: 3,
        incarnation: 5,
        seed: 2,
        peers: new Map([[2, a.address]]),
        listen: "127.0.0.1:0",
        tls: new TlsCredentials(authority.pem(certificates.r3)),
      });
      await bound(port);
      port.start(new Recorder());
      const line = await untilLogged(lines, "peer-unreachable");
      assert.match(String(line["cause"]), /does not name .*replica\/2/);
      await closed(a.port, port);
    });

    test("a plain connection", async () => {
      const a = await lower();
      const b = await higher(a.address, null);
      const line = await untilLogged(a.lines, "connection-refused");
      assert.equal(line["reason"], "tls");
      assert.equal(a.recorder.told.length + b.recorder.told.length, 0);
      await closed(a.port, b.port);
    });
  });

  describe("a listener that authenticates", () => {
    /** Knows one password, and answers when told to if it is slow. */
    class Doorman implements Authenticator {
      readonly asked: string[] = [];
      readonly waiting: (() => void)[] = [];
      slow = false;
      verify(user: string, password: Uint8Array, _remote: string, done: (accepted: boolean) => void): void {
        const text = new TextDecoder().decode(password);
        this.asked.push(`${user}:${text}`);
        const answer = (): void => done(user === "ana" && text === "right");
        if (this.slow) this.waiting.push(answer);
        else setImmediate(answer);
      }
    }

    async function listening(
      strangersMax = 256,
    ): Promise<{ port: TcpListener; address: string; recorder: Recorder; lines: Lines; doorman: Doorman }> {
      const lines = new Lines();
      const doorman = new Doorman();
      const port = new TcpListener({
        scheduler,
        events: lines,
        self: 1,
        clusterId,
        listen: "127.0.0.1:0",
        options: { strangersMax },
        tls: new TlsCredentials(server),
        authenticator: doorman,
      });
      const address = await bound(port);
      const recorder = new Recorder();
      port.start(recorder);
      return { port, address, recorder, lines, doorman };
    }

    function dialling(
      address: string,
      tls: TlsPem,
      password: string | null,
    ): { port: TcpDialler; recorder: Recorder; refused: number[]; lines: Lines } {
      const refused: number[] = [];
      const lines = new Lines();
      const port = new TcpDialler({
        scheduler,
        events: lines,
        clusterId: null,
        addresses: [address],
        seed: 1,
        tls: new TlsCredentials(tls),
        login: password === null ? undefined : { user: "ana", password: encodeUtf8(password) },
        onRefused: (link) => {
          refused.push(link);
          recorder.onDrain(-1);
        },
      });
      const recorder = new Recorder();
      port.start(recorder);
      return { port, recorder, refused, lines };
    }

    test("lets in whoever has the password, and carries frames", async () => {
      const b = await listening();
      const a = dialling(b.address, trusting, "right");
      await untilRecorded(() => a.recorder.link === 0 && b.recorder.link === 1, [a.recorder, b.recorder]);
      send(a.port, 0, 3, Uint8Array.of(1, 2, 3));
      a.port.flush();
      await untilRecorded(() => b.recorder.frames.length === 1, [b.recorder]);
      assert.deepEqual(b.doorman.asked, ["ana:right"]);
      await closed(a.port, b.port);
    });

    test("lets in whoever has a certificate of its authority, without a password", async () => {
      const b = await listening();
      const a = dialling(b.address, authority.pem(client), null);
      await untilRecorded(() => a.recorder.link === 0 && b.recorder.link === 1, [a.recorder, b.recorder]);
      assert.deepEqual(b.doorman.asked, []);
      await closed(a.port, b.port);
    });

    for (const [what, pem, password] of [
      ["nothing", (): TlsPem => trusting, null],
      ["a wrong password", (): TlsPem => trusting, "wrong"],
      ["the certificate of a stranger", (): TlsPem => authority.pem(stranger.issue(["DNS:some.client"])), null],
      ["an expired certificate", (): TlsPem => authority.pem(authority.issue(["DNS:some.client"], -1)), null],
    ] as const) {
      test(`turns away who shows ${what}, and says so`, async () => {
        const b = await listening();
        const a = dialling(b.address, pem(), password);
        await untilRecorded(() => a.refused.length > 0, [a.recorder]);
        assert.equal(a.recorder.count("up") + b.recorder.told.length, 0);
        assert.equal(a.port.clusterId, null, "a stranger learns nothing of the cluster");
        assert.ok(!JSON.stringify(b.lines.lines).includes("wrong"), "the log has no passwords");
        await closed(a.port, b.port);
      });
    }

    test("takes no frame before the password is checked", async () => {
      const b = await listening();
      b.doorman.slow = true;
      const writer = new ByteWriter(1024, 4096);
      const hello = { cluster: clusterKey(clusterId), replica: 0, checksum: 0, incarnation: 0, role: HelloRole.client };
      writeHello(writer, { ...hello, login: { user: "ana", password: encodeUtf8("right") } });
      writeHello(writer, hello);
      const socket = raw(b.address, { ca: authority.cert });
      await once(socket, "secureConnect");
      socket.write(writer.toBytes());
      await once(socket, "close");
      const [line] = b.lines.of("connection-refused");
      assert.match(String(line?.["detail"]), /second HELLO/);
      // The verdict that comes too late changes nothing.
      for (const answer of b.doorman.waiting) answer();
      assert.equal(b.recorder.told.length, 0);
      await closed(b.port);
    });

    test("keeps so many strangers, then drops the oldest", async () => {
      const b = await listening(2);
      const sockets = [];
      for (let i = 0; i < 3; i++) {
        const socket = raw(b.address, { ca: authority.cert });
        await once(socket, "secureConnect");
        sockets.push(socket);
      }
      await once(sockets[0] as TLSSocket, "close");
      assert.equal(b.lines.of("connection-refused")[0]?.["reason"], "strangers");
      assert.deepEqual(
        sockets.slice(1).map((socket) => socket.closed),
        [false, false],
      );
      for (const socket of sockets) socket.destroy();
      await closed(b.port);
    });

    test("drops nobody whose password is being looked at", async () => {
      const b = await listening(2);
      b.doorman.slow = true;
      const a = dialling(b.address, trusting, "right");
      while (b.doorman.waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
      const sockets = [];
      for (let i = 0; i < 2; i++) {
        const socket = raw(b.address, { ca: authority.cert });
        await once(socket, "secureConnect");
        sockets.push(socket);
      }
      await once(sockets[0] as TLSSocket, "close");
      for (const answer of b.doorman.waiting) answer();
      await untilRecorded(() => a.recorder.link === 0, [a.recorder]);
      for (const socket of sockets) socket.destroy();
      await closed(a.port, b.port);
    });

    test("is not fooled by a resumed session, which Node calls authorized without any certificate", async () => {
      const b = await listening();
      const first = raw(b.address, { ca: authority.cert });
      const [session] = (await once(first, "session")) as [Buffer];
      const again = raw(b.address, { ca: authority.cert, session });
      await once(again, "secureConnect");
      assert.equal(again.isSessionReused(), false);
      first.destroy();
      again.destroy();
      await closed(b.port);
    });

    test("speaks nothing older than TLS 1.3", async () => {
      const b = await listening();
      const socket = raw(b.address, { ca: authority.cert, maxVersion: "TLSv1.2" });
      const [error] = (await once(socket, "error")) as [Error];
      assert.match(error.message, /version/);
      await closed(b.port);
    });
  });

  describe("a client", () => {
    async function refusedBecause(pem: TlsPem, shown: TlsPem): Promise<string> {
      const port = new TcpListener({
        scheduler,
        events: new Lines(),
        self: 1,
        clusterId,
        listen: "127.0.0.1:0",
        tls: new TlsCredentials({ ...shown, ca: null }),
      });
      const address = await bound(port);
      port.start(new Recorder());
      const lines = new Lines();
      const tls = new TlsCredentials(pem);
      const dialler = new TcpDialler({ scheduler, events: lines, clusterId: null, addresses: [address], seed: 1, tls });
      const recorder = new Recorder();
      dialler.start(recorder);
      const line = await untilLogged(lines, "replica-unreachable");
      assert.equal(recorder.told.length, 0);
      await closed(dialler, port);
      return String(line["cause"]);
    }

    test("does not talk to a replica of an authority it does not know", async () => {
      assert.match(await refusedBecause(trusting, stranger.pem(stranger.issue(named(1)))), /SELF_SIGNED|UNABLE_TO/);
    });
    test("does not talk to a replica whose certificate is for another host", async () => {
      assert.match(await refusedBecause(trusting, authority.pem(authority.issue(["DNS:elsewhere"]))), /ALTNAME/);
    });
    test("does not talk to a replica whose certificate has expired", async () => {
      assert.match(await refusedBecause(trusting, authority.pem(authority.issue(named(1), -1))), /EXPIRED/);
    });
  });

  test("certificates are exchanged while a port runs; bad ones leave the old in use", async () => {
    const lines = new Lines();
    const credentials = new TlsCredentials({ ...server, ca: null });
    const port = new TcpBytePort({ scheduler, events: lines, listen: "127.0.0.1:0", tls: credentials });
    const address = await bound(port);
    const open: number[] = [];
    port.start({ onOpen: (number) => open.push(number), onBytes() {}, onClose() {}, onDrain() {} });
    const fingerprint = async (): Promise<{ socket: TLSSocket; shown: string | undefined }> => {
      const socket = raw(address, { ca: [authority.cert, stranger.cert] });
      await once(socket, "secureConnect");
      return { socket, shown: socket.getPeerX509Certificate()?.fingerprint256 };
    };
    const before = await fingerprint();
    assert.throws(() => credentials.replace({ cert: server.cert, key: client.key, ca: null }), /key/);
    assert.throws(() => credentials.replace({ cert: "nonsense", key: "nonsense", ca: null }));
    const still = await fingerprint();
    assert.equal(still.shown, before.shown);
    credentials.replace({ ...stranger.issue(named(1)), ca: null });
    const later = await fingerprint();
    assert.notEqual(later.shown, before.shown);
    assert.equal(before.socket.closed, false, "what is connected stays");
    for (const { socket } of [before, still, later]) socket.destroy();
    await closed(port);
  });

  test("bytes over TLS: what a client sent before it ended its side is answered", async () => {
    const port = new TcpBytePort({
      scheduler,
      events: new Lines(),
      listen: "127.0.0.1:0",
      tls: new TlsCredentials({ ...server, ca: null }),
    });
    const address = await bound(port);
    port.start({
      onOpen: () => undefined,
      onBytes(connection, bytes, start, end) {
        port.writer(connection)?.copy(bytes, start, end);
        port.flush();
      },
      onEnd: (connection) => port.disconnect(connection, null),
      onClose: () => undefined,
      onDrain: () => undefined,
    });
    const socket = raw(address, { ca: authority.cert });
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    const sent = Buffer.alloc(300_000, "abcdefg");
    socket.end(sent);
    await once(socket, "end");
    assert.ok(Buffer.concat(chunks).equals(sent));
    await closed(port);
  });

  test("handshakes that never end are bounded: the oldest goes", async () => {
    const lines = new Lines();
    const port: FramePort & { listen(done: ListenDone): void } = new TcpListener({
      scheduler,
      events: lines,
      self: 1,
      clusterId,
      listen: "127.0.0.1:0",
      tls: new TlsCredentials({ ...server, ca: null }),
    });
    const address = await bound(port);
    port.start(new Recorder());
    const sockets = [];
    for (let i = 0; i < 257; i++) {
      const socket = connectPlain(target(address));
      socket.on("error", () => undefined);
      await once(socket, "connect");
      sockets.push(socket);
    }
    sockets[0]?.resume();
    await once(sockets[0] as (typeof sockets)[number], "close");
    assert.match(String(lines.of("connection-refused")[0]?.["detail"]), /256 handshakes/);
    for (const socket of sockets) socket.destroy();
    await closed(port);
  });
});

function target(address: string): { readonly host: string; readonly port: number } {
  const [host, port] = address.split(":") as [string, string];
  return { host, port: Number(port) };
}

/** A bare TLS client. */
function raw(address: string, options: ConnectionOptions): TLSSocket {
  const socket = connect({ ...target(address), ...options });
  socket.on("error", () => undefined);
  return socket;
}
