// What broken connections cost an upload, in bytes.

import { size } from "./format.js";

export class Tally {
  resumes = 0;
  passed = null; // bytes that the network has carried, if somebody counts them
  #repeated = 0; // bytes that the server had said it has, and that were sent again
  #reported = 0; // how far the server has said it is
  #known = 0; // the same when this attempt began

  /** An attempt begins: the server will be asked how far it is. */
  begin() {
    this.#known = this.#reported;
  }

  /** The attempt sends from here on. */
  goesOn(bytes) {
    this.#repeated += Math.max(0, this.#known - bytes);
  }

  /** The server says how far it is. */
  report(bytes) {
    this.#reported = Math.max(this.#reported, bytes);
  }

  /** length: of the whole file, once all of it is there. What a browser says it has sent may never have left it. */
  text(length = Infinity) {
    const lost = this.passed === null ? 0 : Math.max(0, this.passed - length - this.#repeated);
    const more = lost ? ` Lost with broken connections, and sent again: ${size(lost)}.` : "";
    return `Sent twice: ${size(this.#repeated)} that the server already had.${more}`;
  }
}
