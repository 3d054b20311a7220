// What this browser remembers about unfinished flow.js uploads. Without it an upload still goes on, if the chunk size
// is the same; but nobody could be told that there is one.

const PREFIX = "flow::";

export class FlowMemory {
  constructor(endpoint) {
    this.endpoint = endpoint;
  }

  /** A file's name, with its folders if it was chosen or dropped with some. */
  pathOf(file) {
    return file.relativePath || file.webkitRelativePath || file.name;
  }

  /** What tells one file from another: path, size, time of change. flow.js's own leaves out all but ASCII letters. */
  async fingerprintOf(file) {
    return fingerprint(file, this.pathOf(file));
  }

  /** isAgain: make it another upload of the same file. */
  newRecord(file, chunkSize, isAgain) {
    const key = fingerprint(file, this.pathOf(file));
    return {
      key,
      identifier: isAgain ? `${key}-${crypto.getRandomValues(new Uint32Array(1))[0]}` : key,
      name: this.pathOf(file),
      size: file.size,
      chunkSize,
      creationTime: new Date().toISOString(),
      endpoint: this.endpoint,
    };
  }

  /** The record for a file, or null. */
  async recordOf(file) {
    const key = await this.fingerprintOf(file);
    return (await this.records()).find((record) => record.key === key) ?? null;
  }

  /** Every record for this server, newest first. */
  async records() {
    const shelf = open();
    return Object.keys(shelf)
      .filter((key) => key.startsWith(PREFIX))
      .map((key) => JSON.parse(shelf[key]))
      .filter((record) => record.endpoint === this.endpoint)
      .toSorted((a, b) => Date.parse(b.creationTime) - Date.parse(a.creationTime));
  }

  isOf(record, fingerprint) {
    return record.key === fingerprint;
  }

  /** The upload behind a record, once the server has told. */
  idsOf(record) {
    return [record.id].filter(Boolean);
  }

  remember(record) {
    try {
      open()[PREFIX + record.key] = JSON.stringify(record);
    } catch {
      // Full: the upload goes on all the same.
    }
  }

  /** Forget an upload here. */
  forget(record) {
    delete open()[PREFIX + record.key];
  }

  /** Forget an upload here and on the server. What the server keeps all the same expires there by itself. */
  async discard(record) {
    this.forget(record);
    await fetch(`${this.endpoint}?${record.query}`, { method: "DELETE" }).catch(() => {});
  }

  /** The upload has arrived: there is nothing to resume. */
  async retire(record) {
    this.forget(record);
  }
}

function fingerprint({ size, lastModified }, path) {
  return `${size}-${lastModified}-${path}`;
}

const fallback = {}; // where the browser keeps nothing for pages (private windows)

function open() {
  try {
    return globalThis.localStorage ?? fallback;
  } catch {
    return fallback;
  }
}
