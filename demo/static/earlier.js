// Uploads that an earlier visit left unfinished: offer to go on with them.

import { percent, size } from "./format.js";
import { fromTemplate, part, removeRow, setText, showRows } from "./page.js";

const KEPT = 24 * 60 * 60 * 1000; // ms; how long what the server does not know is remembered all the same

export class Earlier {
  #section;
  #memory;
  #take;
  #isOpen;

  /** take(file): put a file into the queue. isOpen(record): whether this page is busy with it already. */
  constructor(section, memory, { take, isOpen }) {
    this.#section = section;
    this.#memory = memory;
    this.#take = take;
    this.#isOpen = isOpen;
  }

  /** Show what this browser remembers and the server still has. */
  async show(unfinished) {
    const known = new Map(unfinished.map((upload) => [upload.id, upload]));
    const records = await this.#memory.records();
    const rows = records.flatMap((record) => {
      const found = this.#memory.idsOf(record).map((id) => known.get(id));
      if (this.#isOpen(record)) return [];
      if (!found.some(Boolean)) {
        if (isOld(record)) this.#memory.forget(record);
        return [];
      }
      const received = found.reduce((sum, upload) => sum + (upload?.received ?? 0), 0);
      return [{ record, received, isBusy: found.some((upload) => upload?.busy) }];
    });
    const keyOf = ({ record }) => record.key;
    showRows(part(this.#section, "rows"), rows, keyOf, (row) => this.#create(row), update);
    this.#section.hidden = rows.length === 0;
  }

  #create({ record }) {
    const element = fromTemplate("earlier-row");
    const name = record.name ?? "a file";
    setText(part(element, "name"), name);
    const input = part(element, "choice");
    input.setAttribute("aria-label", `Choose ${name} again to continue`);
    input.addEventListener("change", () => this.#goOn(element, record, input.files[0]));
    part(element, "forget").setAttribute("aria-label", `Forget ${name}`);
    part(element, "forget").addEventListener("click", async () => {
      removeRow(element);
      await this.#memory.discard(record);
    });
    return element;
  }

  async #goOn(element, record, file) {
    const fingerprint = await this.#memory.fingerprintOf(file);
    if (this.#memory.isOf(record, fingerprint)) {
      this.#take(file);
    } else {
      setText(part(element, "note"), `That is another file, or it has changed. Choose the original, which has ${size(record.size)}.`);
    }
  }
}

/** Whether it is time to forget what the server does not know: a young upload may only be too new for its answer. */
function isOld(record) {
  return Date.now() - Date.parse(record.creationTime) > KEPT;
}

function update(element, { record, received, isBusy }) {
  const share = percent(record.size ? received / record.size : 1);
  const elsewhere = isBusy ? " · another window may still be sending it; continuing here takes over" : "";
  setText(part(element, "numbers"), `${share} of ${size(record.size)} is on the server${elsewhere}`);
}
