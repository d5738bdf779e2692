import { assert, CapacityError, MiB } from "../../base/index.js";
import { growShared } from "../tree/index.js";

/** What another thread needs for the same pages: plain data that can be posted to it. */
export interface PagesDescription {
  readonly control: SharedArrayBuffer;
  readonly regions: readonly SharedArrayBuffer[];
}

/** Default of the most bytes of pages. It is address space: memory is taken when a page is first written. */
export const SHARED_PAGES_BYTES_MAX = 32 * 1024 * MiB;

const PAGE_SHIFT = 12;
export const PAGE_BYTES = 1 << PAGE_SHIFT;
/** Engines allow a growable buffer 4 GiB at most, so that there are several. */
const REGION_PAGES = 1 << 20;

/** The one word of control: pages from this number on were never taken. */
const UNUSED = 0;

/**
 * Memory that several threads take from without a message: one that takes pages tells others their number through words that they
 * share, and these make views of them. Pages are never given back here, whoever took them keeps them for later.
 */
export class SharedPages {
  readonly description: PagesDescription;
  readonly #control: Int32Array;

  constructor(description: PagesDescription) {
    this.description = description;
    this.#control = new Int32Array(description.control);
  }

  /** Reserves address space for `bytesMax` bytes. Throws `RangeError` if the process may not have that much. */
  static reserve(bytesMax: number): SharedPages {
    const pages = Math.ceil(bytesMax / PAGE_BYTES);
    const regions: SharedArrayBuffer[] = [];
    for (let first = 0; first < pages; first += REGION_PAGES) {
      const maxByteLength = Math.min(REGION_PAGES, pages - first) * PAGE_BYTES;
      regions.push(new SharedArrayBuffer(0, { maxByteLength }));
    }
    return new SharedPages({ control: new SharedArrayBuffer(4), regions });
  }

  /**
   * Takes `count` pages that lie side by side and returns the number of the first; they hold zeros. Any thread may, at any
   * time. Throws `CapacityError` if there are not as many left.
   */
  take(count: number): number {
    assert(count >= 1 && count <= REGION_PAGES, `${count} pages at a time`);
    for (;;) {
      const unused = Atomics.load(this.#control, UNUSED) >>> 0;
      const within = unused % REGION_PAGES;
      // What is left of a region that is too little is left unused.
      const first = within + count <= REGION_PAGES ? unused : unused - within + REGION_PAGES;
      const region = this.description.regions[Math.floor(first / REGION_PAGES)];
      const end = ((first % REGION_PAGES) + count) * PAGE_BYTES;
      if (region === undefined || end > region.maxByteLength) {
        throw new CapacityError(`a shared store needs more than its ${unused} pages of ${PAGE_BYTES} bytes`);
      }
      if (Atomics.compareExchange(this.#control, UNUSED, unused | 0, (first + count) | 0) !== (unused | 0)) continue;
      while (region.byteLength < end) growShared(region, end);
      return first;
    }
  }

  /** The buffer that a page lies in. */
  bufferOf(page: number): SharedArrayBuffer {
    return this.description.regions[Math.floor(page / REGION_PAGES)] as SharedArrayBuffer;
  }

  /** Where it begins there, in bytes. */
  offsetOf(page: number): number {
    return (page % REGION_PAGES) * PAGE_BYTES;
  }
}
