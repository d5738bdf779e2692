/** Numbers of each member, one behind the other. */
const OF_MEMBER = {
  /** Bytes of decided batches that the newest cut does not cover. */
  bytes: 0,
  /** 1 while more than half of the log's memory is taken. */
  pressed: 1,
  /** 1 once the member has recovered and runs. */
  running: 2,
  /** How often it has wanted the state of a peer, and from which replica the last time. */
  wants: 3,
  wantedFrom: 4,
  /** Position of its stream in the newest durable cut. */
  cut: 5,
  /** Of a thread: the last instance of g_all that it has executed, and the commands of clients that it has, in the life of the cluster. */
  executedAll: 6,
  ordered: 7,
  /** How far g_all is decided at other replicas, by what a member has heard as the coordinator of its stream. */
  heardAll: 8,
} as const;
const MEMBER_NUMBERS = 9;

const SHARED = {
  /** Contiguous prefix of g_all that is decided at this replica; by member 0. */
  allDecided: 0,
  /** Cuts that were taken in this life of the replica, and those of them that are durable; by member 1. */
  cutsTaken: 1,
  cutsDurable: 2,
  /** 1 while member 1 waits for a barrier over all threads to take a cut at. */
  barrierWanted: 3,
  /** Fetches of a peer's state that have failed; by member 1. */
  fetchesFailed: 4,
  /** Bytes of the newest durable cut, and its digest in four words; by member 1. */
  cutBytes: 5,
  cutDigest: 6,
  /** Entries of the service as of late; by member 1. The digest takes four numbers. */
  entries: 10,
  /** Instance of g_all that a cut has to cover for a backup, 0 while nobody waits for one; by member 0. */
  backupWanted: 11,
} as const;
const SHARED_NUMBERS = 16;

export type MemberNumber = keyof typeof OF_MEMBER;
export type SharedNumber = Exclude<keyof typeof SHARED, "cutDigest">;

/**
 * What the members of a replica tell each other in whole numbers: each is written by one member and read by any. Who writes
 * rings for those whom it concerns; who reads finds everything that was written before the number that it read.
 */
export class Board {
  readonly #numbers: BigInt64Array;

  /** Over memory of `bytesFor(members)` bytes that was 0 before the first use; every member makes an object of its own. */
  constructor(memory: SharedArrayBuffer) {
    this.#numbers = new BigInt64Array(memory);
  }

  static bytesFor(members: number): number {
    return 8 * (SHARED_NUMBERS + members * MEMBER_NUMBERS);
  }

  get(name: SharedNumber): number {
    return this.#load(SHARED[name]);
  }

  set(name: SharedNumber, value: number): void {
    this.#store(SHARED[name], value);
  }

  of(member: number, name: MemberNumber): number {
    return this.#load(SHARED_NUMBERS + member * MEMBER_NUMBERS + OF_MEMBER[name]);
  }

  setOf(member: number, name: MemberNumber, value: number): void {
    this.#store(SHARED_NUMBERS + member * MEMBER_NUMBERS + OF_MEMBER[name], value);
  }

  /** The digest of the newest durable cut, hexadecimal. */
  get cutDigest(): string {
    let hex = "";
    for (let i = 0; i < 4; i++)
      hex += this.#load(SHARED.cutDigest + i)
        .toString(16)
        .padStart(8, "0");
    return hex;
  }

  setCutDigest(hex: string): void {
    for (let i = 0; i < 4; i++) this.#store(SHARED.cutDigest + i, Number.parseInt(hex.slice(8 * i, 8 * i + 8), 16));
  }

  #load(index: number): number {
    return Number(Atomics.load(this.#numbers, index));
  }

  #store(index: number, value: number): void {
    Atomics.store(this.#numbers, index, BigInt(value));
  }
}
