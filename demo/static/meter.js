// How fast it goes, looking back a few seconds.

const WINDOW = 5000; // ms
const AT_LEAST = 1000; // ms; less says nothing

export class Meter {
  #samples = [];

  reset() {
    this.#samples = [];
  }

  add(bytes) {
    this.#samples.push({ time: performance.now(), bytes });
    this.#forget();
  }

  /** Bytes per second, or null while that cannot be told. Goes down by itself when nothing moves. */
  get speed() {
    this.#forget();
    if (!this.#samples.length) return null;
    const first = this.#samples[0];
    const elapsed = performance.now() - first.time;
    if (elapsed < AT_LEAST) return null;
    return Math.max(0, ((this.#samples.at(-1).bytes - first.bytes) * 1000) / elapsed);
  }

  /** Drop what is too old, but for the one sample that the window begins with. */
  #forget() {
    const begin = performance.now() - WINDOW;
    while (this.#samples.length > 1 && this.#samples[1].time < begin) this.#samples.shift();
  }
}
