// Which files go now, and which wait.

// HTTP/1.1 gives a page six connections to a server. All of them busy with uploads would starve the page's own questions.
const CONNECTIONS = 4;

export class Queue {
  #transfers = new Set();

  add(transfer) {
    this.#transfers.add(transfer);
    transfer.addEventListener("change", () => this.#fill());
    this.#fill();
  }

  remove(transfer) {
    this.#transfers.delete(transfer);
    this.#fill();
  }

  get transfers() {
    return [...this.#transfers];
  }

  pause(transfers) {
    // The waiting ones first, or each pause would start another.
    for (const transfer of inState(transfers, "waiting")) transfer.pause();
    for (const transfer of transfers) if (transfer.isBusy) transfer.pause();
  }

  resume(transfers) {
    for (const transfer of inState(transfers, "paused", "failed")) transfer.queue();
  }

  /** Do not wait out the pauses between attempts; the server is back. */
  hurry() {
    for (const transfer of this.transfers) transfer.hurry();
  }

  /** Once a second. */
  tick() {
    for (const transfer of this.transfers) transfer.tick();
  }

  #fill() {
    for (;;) {
      const next = inState(this.transfers, "waiting")[0];
      if (!next || !this.#hasRoomFor(next)) return;
      next.start(); // from here on it is busy
    }
  }

  #hasRoomFor(transfer) {
    const busy = this.transfers.filter(({ isBusy }) => isBusy);
    const used = busy.reduce((sum, { connections }) => sum + connections, 0);
    return used === 0 || used + transfer.connections <= CONNECTIONS;
  }
}

function inState(transfers, ...states) {
  return transfers.filter((transfer) => states.includes(transfer.state));
}
