// What this browser remembers about unfinished uploads of tus or of the IETF draft, through tus-js-client's own storage.

const { tus } = globalThis;

const OPTION = { tus: "tus-v1", ietf: "ietf-draft-05" }; // what tus-js-client calls them

/** Stands in where the browser keeps nothing for pages (private windows): pausing works, reloading does not. */
class MemoryStorage {
  #records = new Map();

  async findAllUploads() {
    return [...this.#records].map(([urlStorageKey, record]) => ({ ...record, urlStorageKey }));
  }

  async findUploadsByFingerprint(fingerprint) {
    return (await this.findAllUploads()).filter((record) => record.urlStorageKey.startsWith(`${fingerprint}::`));
  }

  async addUpload(fingerprint, record) {
    const key = `${fingerprint}::${crypto.randomUUID()}`;
    this.#records.set(key, record);
    return key;
  }

  async removeUpload(key) {
    this.#records.delete(key);
  }
}

/** A record is tus-js-client's, with the `key` it is kept under and the file's `name`. */
export class TusMemory {
  storage = tus.canStoreURLs ? tus.defaultOptions.urlStorage : new MemoryStorage();

  /** protocol: "tus" or "ietf", which have the same endpoint, and each its own memory. */
  constructor(endpoint, protocol = "tus") {
    this.endpoint = endpoint;
    this.protocol = protocol;
    this.option = OPTION[protocol];
  }

  /** What tells one file from another: name, type, size, time of change, and where and how it goes. */
  async fingerprintOf(file) {
    const fingerprint = await tus.defaultOptions.fingerprint(file, { endpoint: this.endpoint });
    return this.protocol === "tus" ? fingerprint : `${this.protocol}-${fingerprint}`;
  }

  /** The newest record for a file, or null. */
  async recordOf(file) {
    const records = await this.storage.findUploadsByFingerprint(await this.fingerprintOf(file));
    return newestFirst(records)[0] ?? null;
  }

  /** Every record for this server, newest first. */
  async records() {
    const records = await this.storage.findAllUploads();
    return newestFirst(
      records.filter(
        (record) =>
          (record.metadata?.protocol ?? "tus") === this.protocol &&
          urlsOf(record).every((url) => url.startsWith(this.endpoint)),
      ),
    );
  }

  isOf(record, fingerprint) {
    return record.key.includes(`::${fingerprint}::`) || record.key.startsWith(`${fingerprint}::`);
  }

  /** The uploads behind a record: one, or its parts. */
  idsOf(record) {
    return urlsOf(record).map((url) => url.split("/").at(-1));
  }

  /** Forget an upload here. */
  forget(record) {
    return this.storage.removeUpload(record.key);
  }

  /** Forget an upload here and on the server. What the server keeps all the same expires there by itself. */
  async discard(record) {
    await this.forget(record);
    await Promise.allSettled(urlsOf(record).map((url) => tus.Upload.terminate(url, { protocol: this.option })));
  }

  /** The upload has arrived: there is nothing to resume. The parts that it was made of are of no use any more. */
  async retire(record) {
    if (record.parallelUploadUrls) await this.discard(record);
    else await this.forget(record);
  }
}

function urlsOf(record) {
  return (record.parallelUploadUrls ?? [record.uploadUrl]).filter(Boolean);
}

function newestFirst(records) {
  return records
    .toSorted((a, b) => Date.parse(b.creationTime) - Date.parse(a.creationTime))
    .map((record) => ({ ...record, key: record.urlStorageKey, name: record.metadata?.filename }));
}
