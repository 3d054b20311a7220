// What an app does with flow.js or resumable.js, and a record of what comes of it.

const story = { requests: [], succeeded: {}, failed: {} };
let client;

/** Get ready for files: options are the library's, and `asksStatus`: use the status resource. */
globalThis.begin = ({ library, target, asksStatus, ...options }) => {
  client = library === "flow" ? new Flow({ target, ...options }) : new Resumable({ target, ...options });
  client.on("fileSuccess", (file, message) => {
    story.succeeded[file.relativePath] = JSON.parse(message);
  });
  client.on("fileError", (file, message) => {
    story.failed[file.relativePath] = message;
  });
  client.on("complete", () => {
    document.body.dataset.state = "complete";
  });
  client.on(library === "flow" ? "filesSubmitted" : "filesAdded", async (files) => {
    if (asksStatus) await Promise.all(files.map((file) => skipWhatIsThere(target, file)));
    client.upload();
  });
  client.assignBrowse(document.getElementById("files"));
  client.assignBrowse(document.getElementById("folder"), true);
};

/** Stop, and have the server throw away what it has; the server's status. */
globalThis.cancel = async (target) => {
  const query = new URLSearchParams(describe(client.files[0]));
  client.cancel();
  return (await fetch(`${target}?${query}`, { method: "DELETE" })).status;
};

/** One question for the whole file, instead of one for each chunk. */
async function skipWhatIsThere(target, file) {
  const answer = await fetch(`${target}status?${new URLSearchParams(describe(file))}`);
  const { status, missing } = await answer.json();
  if (status === "unknown") return; // or without bytes it would be taken for finished
  for (const chunk of file.chunks) {
    chunk.tested = true;
    const isHere = !missing.some(([start, stop]) => start < chunk.endByte && chunk.startByte < stop);
    if (isHere) chunk.status = () => "success";
  }
}

/** A file as both libraries describe it to the server. */
function describe(file) {
  if (file instanceof Flow.FlowFile) return file.chunks[0].getParams();
  return {
    resumableChunkNumber: 1,
    resumableChunkSize: client.opts.chunkSize,
    resumableTotalSize: file.size,
    resumableIdentifier: file.uniqueIdentifier,
    resumableFilename: file.fileName,
    resumableRelativePath: file.relativePath,
    resumableTotalChunks: file.chunks.length,
    resumableType: file.file.type,
  };
}

// Every request of the libraries, with its answer; 0 where there was none.
const open = XMLHttpRequest.prototype.open;
XMLHttpRequest.prototype.open = function (method, url, ...rest) {
  // The first to hear, before a library aborts it: that wipes out the status.
  this.addEventListener("readystatechange", () => {
    if (this.readyState === XMLHttpRequest.DONE) story.requests.push({ method, status: this.status });
  });
  return open.call(this, method, url, ...rest);
};
