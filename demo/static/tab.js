// The tab of one protocol: files in, cards out.

import { createCard } from "./card.js";
import { Earlier } from "./earlier.js";
import { count } from "./format.js";
import { listenForFiles } from "./files.js";
import { announce, focusOnZone, part } from "./page.js";
import { showTotals, wireTotals } from "./totals.js";

/** Events: "finished", "interrupted" and "resumed", each with the transfer as its detail, and "change". */
export class Tab extends EventTarget {
  #panel;
  #queue;
  #memory;
  #create;
  #cards = new Map(); // transfer → element
  #open = new Map(); // fingerprint → transfer, so that no file is sent twice at once
  #earlier;

  /** create(file, knob): a transfer; knob(name) is what the person has set under "How to send". */
  constructor(panel, queue, memory, create) {
    super();
    this.#panel = panel;
    this.#queue = queue;
    this.#memory = memory;
    this.#create = create;
    this.#earlier = new Earlier(part(panel, "earlier"), memory, {
      take: (file) => this.#take(file),
      isOpen: (record) => [...this.#open.keys()].some((fingerprint) => memory.isOf(record, fingerprint)),
    });
    listenForFiles(part(panel, "zone"), part(panel, "files"), (files) => {
      announce(files.length === 1 ? `${files[0].name} added.` : `${count(files.length)} files added.`);
      for (const file of files) this.#take(file);
    });
    wireTotals(panel, {
      pauseAll: () => queue.pause(this.transfers),
      resumeAll: () => queue.resume(this.transfers),
      dismissFinished: () => this.#dismissFinished(),
    });
  }

  get transfers() {
    return [...this.#cards.keys()];
  }

  /** What the server says about its uploads. */
  hear({ unfinished, passed }) {
    for (const transfer of this.transfers) {
      if (passed?.[transfer.id]) transfer.count(passed[transfer.id]);
      const upload = unfinished.find(({ id }) => id === transfer.id);
      if (upload) transfer.learn(upload.received);
    }
    this.#earlier.show(unfinished);
  }

  async #take(file) {
    const fingerprint = await this.#memory.fingerprintOf(file);
    const known = this.#open.get(fingerprint);
    if (known) {
      if (!known.isBusy) known.queue();
      return;
    }
    const transfer = this.#create(file, (name) => part(this.#panel, name).value);
    this.#open.set(fingerprint, transfer);
    this.#watch(transfer, fingerprint);
    const card = createCard(transfer, () => this.#drop(transfer));
    this.#cards.set(transfer, card);
    part(this.#panel, "cards").prepend(card);
    this.#queue.add(transfer);
  }

  #watch(transfer, fingerprint) {
    let before = transfer.state;
    transfer.addEventListener("change", () => {
      const { state } = transfer;
      if (!transfer.isOpen) this.#open.delete(fingerprint);
      if (state !== before) {
        if (state === "done") this.#tell("finished", transfer);
        if (state === "retrying") this.#tell("interrupted", transfer);
        const isResumed = transfer.resumedFrom !== null && transfer.resumedFrom < transfer.size;
        if (state === "sending" && isResumed) this.#tell("resumed", transfer);
      }
      before = state;
      this.#changed();
    });
  }

  #tell(name, transfer) {
    this.dispatchEvent(new CustomEvent(name, { detail: transfer }));
  }

  #drop(transfer) {
    this.#cards.delete(transfer);
    this.#queue.remove(transfer);
    this.#changed();
  }

  #dismissFinished() {
    for (const [transfer, card] of this.#cards) {
      if (transfer.state !== "done") continue;
      card.remove();
      this.#drop(transfer);
    }
    focusOnZone();
  }

  #changed() {
    showTotals(this.#panel, this.transfers);
    this.dispatchEvent(new Event("change"));
  }
}
