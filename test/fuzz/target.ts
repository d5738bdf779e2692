import type { Prng } from "#src/base/index.js";

/** An input as decoders get it: `bytes[start, end)`, of which `view` shows nothing beyond `end`, so that reading there throws. */
export interface FuzzInput {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly start: number;
  readonly end: number;
  /** For choices that are not part of the input, such as where it is cut into pieces. */
  readonly prng: Prng;
}

/** A decoder and what is known of its inputs. */
export interface FuzzTarget {
  readonly name: string;
  /** What is decoded, in a few words. */
  readonly what: string;
  /** Valid inputs, each a few hundred bytes: what all others are made of. */
  readonly corpus: readonly Uint8Array[];
  /** Words of a format made of text. */
  readonly tokens?: readonly string[];
  /**
   * Repairs the checksums of three inputs in four, as nobody who meets a decoder behind a checksum by chance does, but
   * everybody who wants to. Changes `bytes[start, end)` in place.
   */
  readonly seal?: (bytes: Uint8Array, view: DataView, start: number, end: number) => void;
  /**
   * Decodes; true if the input was taken, false if it was refused in the way that the decoder documents. Throws, or
   * rejects, for anything else, for a value that contradicts itself as well.
   */
  readonly decode: (input: FuzzInput) => boolean | Promise<boolean>;
  /** Forgets what was decoded, every `RESET_RUNS`, so that a finding depends on few inputs before it. */
  readonly reset?: () => void;
}

/** A target is reset whenever the number of a run is a multiple of this. */
export const RESET_RUNS = 256;
