import { fileURLToPath, pathToFileURL } from "node:url";
import type { Prng } from "#src/base/index.js";
import { connect } from "#src/runtime/index.js";
import { type ServiceDefinition, ServiceError } from "#src/service/index.js";
import { KeyLives } from "./key-lives.js";
import { type Answer, type LoadInit, opened, RecordedLoad } from "./recorded-load.js";

const ACCOUNTS = 16;
/** What each of the first accounts opens with; accounts that replace others open empty. */
const CENTS = 10_000;
const LANES = 2;
const DEADLINE_MS = 5000;

/** The module of the example, which replicas and clients load. */
export const bankModule = fileURLToPath(new URL("../../../../examples/bank/bank.js", import.meta.url));

/** The part of the example's client that this load uses. */
interface Bank {
  open(args: { account: string; cents: number }): Promise<void>;
  transfer(args: { from: string; to: string; cents: number }): Promise<number>;
  balance(args: { account: string }): Promise<number | null>;
  statement(args: { account: string }): Promise<readonly { readonly at: number; readonly cents: number }[]>;
  total(): Promise<number>;
  close(): Promise<void>;
}

/**
 * The bank of `examples/bank`, a service that its user defined. In the history an account is a counter: a transfer adds to
 * two of them, what the payer is told is the counter's new number, and a balance is an addition of nothing. So money that
 * moved twice, moved by half or was forgotten has no order that explains what was read later. Beyond that `total` must be
 * the same at any moment, and the agreed time of an account's movements may not go back.
 */
export class BankLoad extends RecordedLoad {
  readonly #accounts = new KeyLives("a", ACCOUNTS);
  /** Accounts that are there for certain: from now on nobody may be told that they are not. */
  readonly #open = new Set<string>();
  #definition: ServiceDefinition | null = null;

  constructor(init: LoadInit) {
    super(init);
  }

  override async prepare(): Promise<void> {
    const module = (await import(pathToFileURL(bankModule).href)) as { readonly bank: ServiceDefinition };
    this.#definition = module.bank;
    const bank = await this.#connect(0);
    for (const account of this.#accounts.all) await this.#openAccount(bank, `open ${account}`, account, CENTS);
    await bank.close();
  }

  protected async run(client: string, prng: Prng, index: number): Promise<void> {
    const bank = await opened(
      this.init.client,
      index,
      () => this.stopping,
      () => this.#connect(index),
    );
    if (bank === null) return;
    await Promise.all(
      Array.from({ length: LANES }, async (_, lane) => {
        const lanePrng = prng.fork(`lane ${lane}`);
        while (!this.stopping) {
          await this.#next(bank, `${client}.${lane}`, lanePrng);
          await this.pause(lanePrng);
        }
      }),
    );
    await bank.close();
  }

  async readAll(): Promise<void> {
    for (const index of this.init.client.keys()) {
      const bank = await this.#connect(index);
      for (const account of this.#accounts.all) {
        await this.#balance(bank, `final ${index}`, account);
        await this.#statement(bank, account);
      }
      await this.#total(bank);
      await bank.close();
    }
  }

  async #next(bank: Bank, client: string, prng: Prng): Promise<void> {
    const account = this.#accounts.use(prng.below(ACCOUNTS));
    const draw = prng.below(100);
    if (draw < 25) return this.#balance(bank, client, account);
    if (draw < 30) return this.#statement(bank, account);
    if (draw < 35) return this.#total(bank);
    const to = this.#accounts.use(prng.below(ACCOUNTS));
    // From an account to itself would be two movements of one counter with a result between them.
    if (to !== account) await this.#transfer(bank, client, account, to, 1 + prng.below(CENTS / 4));
  }

  async #transfer(bank: Bank, client: string, from: string, to: string, cents: number): Promise<void> {
    const invoked = this.now();
    const open = [from, to].filter((account) => this.#open.has(account));
    let answer: Answer;
    try {
      answer = await this.answerOf(bank.transfer({ from, to, cents }));
    } catch (error) {
      const missing = error instanceof ServiceError ? /there is no account (\S+)/.exec(error.message)?.[1] : undefined;
      if (missing !== undefined) {
        // One that takes another's place may be about to be opened.
        if (open.includes(missing)) this.break(`${missing} was opened, and is not there`);
        return this.count("fail");
      }
      // Refused, which says what the payer had at that moment.
      const balance = error instanceof ServiceError ? /has (\d+) cents/.exec(error.message)?.[1] : undefined;
      if (balance === undefined) throw error;
      this.#record(client, from, 0, invoked, { outcome: "ok", result: balance });
      return this.count("ok");
    }
    this.#record(client, from, -cents, invoked, answer);
    this.#record(`${client} pays`, to, cents, invoked, { ...answer, result: null } as Answer);
    this.count(answer.outcome);
    if (answer.outcome !== "info") return;
    for (const account of [from, to])
      if (this.#accounts.noteUnknown(account)) await this.#replace(bank, client, account);
  }

  /** The account that takes a retired one's place gets what that one had, or the money would run out. */
  async #replace(bank: Bank, client: string, retired: string): Promise<void> {
    const slot = Number(/^a(\d+)/.exec(retired)?.[1]);
    const account = this.#accounts.name(slot);
    await this.#openAccount(bank, `open ${account}`, account, 0);
    const balance = await this.answerOf(bank.balance({ account: retired }));
    if (balance.outcome === "ok" && Number(balance.result) > 0) {
      await this.#transfer(bank, client, retired, account, Number(balance.result));
    }
  }

  /** Until it is there for certain. */
  async #openAccount(bank: Bank, client: string, account: string, cents: number): Promise<void> {
    const invoked = this.now();
    for (;;) {
      try {
        const { outcome } = await this.answerOf(bank.open({ account, cents }));
        if (outcome === "ok") break;
      } catch (error) {
        if (error instanceof ServiceError && error.message.includes("is there already")) break;
        throw error;
      }
    }
    this.#open.add(account);
    if (cents > 0) this.#record(client, account, cents, invoked, { outcome: "ok", result: null });
  }

  async #balance(bank: Bank, client: string, account: string): Promise<void> {
    const invoked = this.now();
    const answer = await this.answerOf(bank.balance({ account }));
    // Null: the account that takes another's place is about to be opened.
    if (answer.outcome === "ok" && answer.result !== null) this.#record(client, account, 0, invoked, answer);
    this.count(answer.outcome);
  }

  async #statement(bank: Bank, account: string): Promise<void> {
    const answer = await this.answerOf(bank.statement({ account }));
    this.count(answer.outcome);
    if (answer.outcome !== "ok") return;
    const movements = answer.result as Awaited<ReturnType<Bank["statement"]>>;
    for (const [index, { at }] of movements.entries()) {
      const newer = movements[index - 1];
      if (newer !== undefined && newer.at < at)
        this.break(`${account}: agreed time went back from ${at} to ${newer.at}`);
    }
  }

  async #total(bank: Bank): Promise<void> {
    const answer = await this.answerOf(bank.total());
    this.count(answer.outcome);
    if (answer.outcome === "ok" && answer.result !== ACCOUNTS * CENTS) {
      this.break(`total is ${String(answer.result)} cents, not ${ACCOUNTS * CENTS}`);
    }
  }

  /** Written when it has ended, with the time it began: what it was follows from its answer. */
  #record(client: string, account: string, cents: number, invoked: number, answer: Answer): void {
    this.recorder.invoke(client, "add", [account, cents], invoked);
    this.recorder.complete(client, answer.outcome, answer.result, this.now());
  }

  async #connect(at: number): Promise<Bank> {
    const { client } = this.init;
    if (this.#definition === null) throw new Error("the load was not prepared");
    const addresses = [client[at % client.length] as string];
    return (await connect({ addresses, service: this.#definition, deadlineMs: DEADLINE_MS })) as unknown as Bank;
  }
}
