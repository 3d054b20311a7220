// What the server says about itself, asked again and again. Events: "news" with fresh data, "lost" and "back".

const BUSY = 500; // ms between questions while something moves
const IDLE = 1000;
const AGAIN = 250; // ms after a question that failed: on a bad network there is little time to the next cut
const PATIENCE = 8000;
const FOLLOWED = 8; // uploads whose bytes are followed at a time

export class Monitor extends EventTarget {
  isLost = false;
  #url;
  #timer = null;
  #isAsking = false;
  #isOverdue = false;

  constructor(url) {
    super();
    this.#url = url;
    document.addEventListener("visibilitychange", () => this.ask());
    window.addEventListener("online", () => this.ask());
  }

  /** Ask now; the next question comes by itself, while anybody looks. */
  async ask() {
    clearTimeout(this.#timer);
    this.#isOverdue = this.#isAsking; // the answer on its way may be older than what the caller knows of
    if (this.#isAsking) return;
    this.#isAsking = true;
    let isBusy = false;
    try {
      const response = await fetch(this.#url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!response.ok) throw new Error(`The server responded with ${response.status}.`);
      const news = await response.json();
      isBusy = news.unfinished.length > 0;
      const moving = news.unfinished.toSorted((a, b) => b.busy - a.busy).slice(0, FOLLOWED);
      await Promise.all(moving.map(follow));
      this.dispatchEvent(new CustomEvent("news", { detail: news }));
      this.#be(false);
    } catch {
      this.#be(true);
    } finally {
      this.#isAsking = false;
      if (this.#isOverdue) this.ask();
      else if (!document.hidden) this.#timer = setTimeout(() => this.ask(), this.isLost ? AGAIN : isBusy ? BUSY : IDLE);
    }
  }

  #be(isLost) {
    if (this.isLost === isLost) return;
    this.isLost = isLost;
    this.dispatchEvent(new Event(isLost ? "lost" : "back"));
  }
}

/**
 * Add what has arrived since the upload was last saved. Only HEAD tells: while a request runs, its progress is not in
 * the database. It stops nobody. The chunks of flow.js are in the list as soon as they are there.
 */
async function follow(upload) {
  if (upload.status === "complete") return;
  const options = { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" }, signal: AbortSignal.timeout(PATIENCE) };
  const response = await fetch(upload.url, options).catch(() => null); // the list is worth showing all the same
  if (response?.ok) upload.received = Math.max(upload.received, Number(response.headers.get("Upload-Offset")));
}
