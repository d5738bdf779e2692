import type {
  Batch,
  EffectSink,
  HeldSend,
  Instance,
  Protocol,
  ProtocolEvent,
  ProtocolModule,
  ProtocolView,
  RefuseReason,
  ReplicaId,
  Span,
  TraceCode,
} from "../../model/index.js";

export type AnyModule = ProtocolModule<unknown, unknown, unknown>;
export type AnyProtocol = Protocol<unknown, unknown, unknown>;
export type AnyEvent = ProtocolEvent<unknown, unknown>;
type AnySink = EffectSink<unknown, unknown, unknown>;

/** Passes every effect on. A bug extends it and does one thing wrong. */
export class PassingSink implements AnySink {
  /** The host's sink; set before each step. */
  out!: AnySink;
  /** What the protocol shows of itself. */
  view!: ProtocolView;

  /** Sees an event before the protocol does; returns the one that the protocol gets, or null for none. */
  before(event: AnyEvent): AnyEvent | null {
    return event;
  }

  send(to: ReplicaId, message: unknown): void {
    this.out.send(to, message);
  }

  persist(token: number, record: unknown, held: readonly HeldSend<unknown>[]): void {
    this.out.persist(token, record, held);
  }

  wakeAt(time: number): void {
    this.out.wakeAt(time);
  }

  reveal(instance: Instance, batch: Batch): void {
    this.out.reveal(instance, batch);
  }

  revoke(from: Instance): void {
    this.out.revoke(from);
  }

  decide(instance: Instance, batch: Batch): void {
    this.out.decide(instance, batch);
  }

  readable(ticket: number, after: Instance): void {
    this.out.readable(ticket, after);
  }

  refuse(what: Batch | number, reason: RefuseReason, leader: ReplicaId): void {
    this.out.refuse(what, reason, leader);
  }

  fetchState(from: ReplicaId, through: Instance, digest: string | null): void {
    this.out.fetchState(from, through, digest);
  }

  trim(through: Instance): void {
    this.out.trim(through);
  }

  recall(to: ReplicaId, from: Instance, through: Instance): void {
    this.out.recall?.(to, from, through);
  }

  asideHeard(from: ReplicaId, value: number): void {
    this.out.asideHeard(from, value);
  }

  reply(span: Span): void {
    this.out.reply(span);
  }

  trace(code: TraceCode, a: number, b: number, c: number): void {
    this.out.trace(code, a, b, c);
  }
}

/** The module with a sink of its own between each protocol and its host. */
export function throughSink(module: AnyModule, make: () => PassingSink): AnyModule {
  return {
    name: module.name,
    codec: module.codec,
    create: (init, config): AnyProtocol => {
      const protocol = module.create(init, config);
      const sink = make();
      sink.view = protocol.inspect();
      return {
        inspect: () => protocol.inspect(),
        prologue: () => protocol.prologue(),
        step: (event, out) => {
          sink.out = out;
          const seen = sink.before(event);
          if (seen !== null) protocol.step(seen, sink);
        },
      };
    },
  };
}
