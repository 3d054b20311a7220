// What the server says about itself, asked again and again. Events: "news" with fresh data, "lost" and "back".

const BUSY = 1000; // ms between questions while something moves
const IDLE = 4000;
const PATIENCE = 8000;

export class Monitor extends EventTarget {
  isLost = false;
  #url;
  #timer = null;
  #isAsking = false;

  constructor(url) {
    super();
    this.#url = url;
    document.addEventListener("visibilitychange", () => this.ask());
    window.addEventListener("online", () => this.ask());
  }

  /** Ask now; the next question comes by itself, while anybody looks. */
  async ask() {
    clearTimeout(this.#timer);
    if (this.#isAsking) return;
    this.#isAsking = true;
    let isBusy = false;
    try {
      const response = await fetch(this.#url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!response.ok) throw new Error(`The server responded with ${response.status}.`);
      const news = await response.json();
      isBusy = news.unfinished.length > 0;
      this.dispatchEvent(new CustomEvent("news", { detail: news }));
      this.#be(false);
    } catch {
      this.#be(true);
    } finally {
      this.#isAsking = false;
      if (!document.hidden) this.#timer = setTimeout(() => this.ask(), isBusy || this.isLost ? BUSY : IDLE);
    }
  }

  #be(isLost) {
    if (this.isLost === isLost) return;
    this.isLost = isLost;
    this.dispatchEvent(new Event(isLost ? "lost" : "back"));
  }
}
