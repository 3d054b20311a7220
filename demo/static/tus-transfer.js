// One file on its way to the server with tus-js-client, over as many connections as that takes.

import { count } from "./format.js";
import { Transfer } from "./transfer.js";

const { tus } = globalThis;

const PART_AT_LEAST = 256 * 1024; // bytes; parallel parts below this are only overhead

export class TusTransfer extends Transfer {
  #memory;
  #settings;
  #upload = null;
  #parts = 1;

  /** settings: { chunkSize, parallel } */
  constructor(file, memory, settings) {
    super(file, memory);
    this.#memory = memory;
    this.#settings = settings;
  }

  /** The protocol, for those who want to go on without this page. */
  get protocol() {
    return this.#memory.protocol;
  }

  /** How many requests it keeps open at a time. */
  get connections() {
    return this.#partsFor(null);
  }

  get whereResumed() {
    return `from byte ${count(this.resumedFrom)}`;
  }

  /** When all parts are there, the server is putting them together. */
  get isAssembling() {
    return this.#parts > 1 && this.sent === this.size;
  }

  async send(attempt) {
    const record = await this.#memory.recordOf(this.file);
    if (!attempt.isCurrent) return;
    this.#parts = this.#partsFor(record);
    this.#upload = new tus.Upload(this.file, this.#options(attempt, this.#parts));
    if (record) this.#upload.resumeFromPreviousUpload(record);
    this.#upload.start();
  }

  abort() {
    this.#upload?.abort();
    this.#upload = null;
  }

  /** An upload goes on in as many parts as it was begun with. */
  #partsFor(record) {
    if (record) return record.parallelUploadUrls?.length ?? 1;
    const most = Math.floor(this.size / PART_AT_LEAST);
    return Math.max(1, Math.min(this.#settings.parallel, most));
  }

  #options(attempt, parts) {
    const metadata = { filename: this.name, filetype: this.file.type, protocol: this.protocol };
    return {
      endpoint: this.#memory.endpoint,
      protocol: this.#memory.option,
      fingerprint: (file) => this.#memory.fingerprintOf(file),
      urlStorage: this.#memory.storage,
      metadata,
      metadataForPartialUploads: metadata, // so that the server can refuse the first part, not only the whole
      chunkSize: this.#settings.chunkSize,
      parallelUploads: parts,
      retryDelays: null,
      onAfterResponse: this.ifCurrent(attempt, this.#heard),
      onUploadUrlAvailable: parts === 1 ? this.ifCurrent(attempt, this.#found) : null,
      onProgress: this.ifCurrent(attempt, this.progressed),
      onChunkComplete: parts === 1 ? this.ifCurrent(attempt, (_size, accepted) => this.confirm(accepted)) : null,
      onSuccess: this.ifCurrent(attempt, () => {
        this.#found();
        return this.succeeded();
      }),
      onError: this.ifCurrent(attempt, (error) => {
        const response = error.originalResponse;
        return this.failed(attempt, response?.getStatus() ?? 0, reasonIn(response?.getBody()));
      }),
    };
  }

  #heard(request, response) {
    if (request.getMethod() !== "HEAD") return;
    const status = response.getStatus();
    // tus-js-client would take any answer but 423 for "gone" and begin from zero, even one from a server in trouble.
    if (status >= 500) throw new Error(`The server responded with ${status}.`);
    if (status === 404 || status === 410) this.message = "The server no longer has the first part. Starting again.";
    if (status !== 200 && status !== 204) return;
    this.goesOn((this.resumedFrom ?? 0) + Number(response.getHeader("Upload-Offset"))); // parts add up
  }

  #found() {
    const { url } = this.#upload;
    this.located(url.split("/").at(-1), url);
  }
}

/** What an error says: a line of text in tus, problem details in the draft. */
function reasonIn(body) {
  try {
    return JSON.parse(body).detail;
  } catch {
    return body?.trim();
  }
}
