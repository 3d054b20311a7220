// One file on its way to the server with flow.js, in chunks that arrive in any order.

import { askById, askStatus, queryOf, skipWhatIsThere } from "./flow-status.js";
import { count } from "./format.js";
import { Transfer } from "./transfer.js";

const { Flow } = globalThis;

const NOTHING = { id: null, status: "unknown", received: 0, complete: false, missing: [] };

export class FlowTransfer extends Transfer {
  #memory;
  #settings;
  #flow = null;
  #record = null;
  #there = null; // chunks that this attempt need not send

  /** settings: { chunkSize, parallel, method } */
  constructor(file, memory, settings) {
    super(file, memory);
    this.#memory = memory;
    this.#settings = settings;
  }

  get name() {
    return this.#memory.pathOf(this.file);
  }

  /** How many requests it keeps open at a time. */
  get connections() {
    return Math.max(1, Math.min(this.#settings.parallel, Math.floor(this.size / this.#settings.chunkSize)));
  }

  get whereResumed() {
    const { here, all } = this.#there;
    return `after ${count(here)} of ${count(all)} chunks`;
  }

  async send(attempt) {
    const known = await this.#memory.recordOf(this.file);
    if (!attempt.isCurrent) return;
    // An upload goes on in chunks of the size that it was begun with, or it would be another one.
    let file = this.#build(attempt, known ?? this.#newRecord());
    let status = await askStatus(this.#memory.endpoint, file);
    if (!attempt.isCurrent) return;
    if (status?.status === "cancelled" || (status?.status === "unknown" && known)) {
      // It is gone for good. Under a name of its own even what was cancelled a moment ago is welcome.
      if (known) this.#memory.forget(known);
      file = this.#build(attempt, this.#newRecord(status.status === "cancelled"));
      status = NOTHING;
    }
    if (status) this.#learnFrom(status, skipWhatIsThere(file, status), file.chunks.length);
    this.#remember();
    this.#flow.upload();
  }

  abort() {
    this.#flow?.off();
    this.#flow?.cancel();
    this.#flow = null;
  }

  /** A Flow of its own for each attempt: nothing of an older one can come back. */
  #build(attempt, record) {
    this.abort();
    this.#record = record;
    const { chunkSize, identifier } = record;
    this.#flow = new Flow({
      target: this.#memory.endpoint,
      chunkSize,
      method: this.#settings.method,
      query: { protocol: "flow.js" },
      simultaneousUploads: this.#settings.parallel,
      generateUniqueIdentifier: () => identifier,
      maxChunkRetries: 0, // the whole attempt is repeated instead
      progressCallbacksInterval: 100,
    });
    this.#flow.on("fileProgress", this.ifCurrent(attempt, this.#heard));
    this.#flow.on("fileSuccess", this.ifCurrent(attempt, (_file, body) => this.#ended(attempt, body)));
    this.#flow.on(
      "fileError",
      this.ifCurrent(attempt, (_file, body, chunk) => this.failed(attempt, chunk.xhr?.status ?? 0, parse(body).error)),
    );
    this.#flow.addFile(this.file);
    return this.#flow.files[0];
  }

  #learnFrom({ id, received, complete }, here, all) {
    if (id === null) return;
    this.located(id);
    this.#there = { here, all };
    this.goesOn(received);
    if (complete) this.message = "The server already had this file. Nothing was sent.";
  }

  #heard(file, chunk) {
    this.progressed(file.sizeUploaded());
    if (chunk.status() !== "success") return;
    const { id, received } = parse(chunk.message());
    if (id && id !== this.id) {
      this.located(id);
      this.#remember();
    }
    if (received !== undefined) this.confirm(received);
  }

  async #ended(attempt, body) {
    let answer = parse(body);
    if (answer.complete === false) {
      // It is the answer that came last, not the one to the chunk that made the file whole.
      answer = (await askById(this.#memory.endpoint, answer.id)) ?? {};
      if (!attempt.isCurrent) return;
    }
    if (answer.complete) this.succeeded();
    else this.failed(attempt, 503, "The server has every byte and is finishing the file.");
  }

  #newRecord(isAgain = false) {
    return this.#memory.newRecord(this.file, this.#settings.chunkSize, isAgain);
  }

  #remember() {
    this.#record = { ...this.#record, id: this.id, query: String(queryOf(this.#flow.files[0])) };
    this.#memory.remember(this.#record);
  }
}

/** What an answer says, if it is one of ours. */
function parse(body) {
  try {
    return JSON.parse(body) ?? {};
  } catch {
    return {};
  }
}
