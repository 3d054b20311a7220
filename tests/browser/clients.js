// What an app does with flow.js or resumable.js, and a record of what comes of it.

const story = { requests: [], succeeded: {}, failed: {}, retries: 0 };
let client;

const LIBRARIES = { flow: "Flow", resumable: "Resumable", "simple-uploader": "Uploader" };

/** Get ready for files: options are the library's, and `asksStatus`: use the status resource. */
globalThis.begin = ({ library, target, asksStatus, ...options }) => {
  client = new globalThis[LIBRARIES[library]]({ target, ...options });
  // simple-uploader tells of the folder first.
  const about = (...told) => told.slice(library === "simple-uploader" ? 1 : 0);
  client.on("fileSuccess", async (...told) => {
    const [file, message] = about(...told);
    const answer = JSON.parse(message);
    story.succeeded[file.relativePath] = answer;
    // As the guide says.
    if (answer.complete || (await fetch(target + answer.id).then((it) => it.json())).complete) return;
    story.retries += 1;
    file.tries = (file.tries ?? 0) + 1;
    if (library === "simple-uploader") file.completed = told[0].completed = false;
    if (file.tries < 4) file.retry();
  });
  client.on("fileError", (...told) => {
    const [file, message] = about(...told);
    story.failed[file.relativePath] = message;
  });
  client.on("complete", () => {
    document.body.dataset.state = "complete";
  });
  client.on(library === "resumable" ? "filesAdded" : "filesSubmitted", async (files) => {
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
