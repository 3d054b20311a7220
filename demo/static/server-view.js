// What the server has: uploads under way, and finished files with what can be done with them.

import { count, duration, moment, percent, size } from "./format.js";
import { sha256 } from "./hash.js";
import { announce, fromTemplate, part, setText, showRows } from "./page.js";

const { tus } = globalThis;

/** localFiles: a Map from upload id to the File it was made from, as far as this page still has it. */
export class ServerView {
  #root;
  #localFiles;
  #refresh;
  #gone = new Set();

  constructor(root, localFiles, refresh) {
    this.#root = root;
    this.#localFiles = localFiles;
    this.#refresh = refresh;
  }

  show(news) {
    // A finished part waits for its siblings; what is under way is the rest.
    const unfinished = news.unfinished.filter((upload) => upload.status !== "complete");
    const finished = news.finished.filter((upload) => !this.#gone.has(upload.id));
    const keyOf = (upload) => upload.id;
    const create = (upload) => this.#createUnfinished(upload);
    showRows(part(this.#root, "unfinished"), unfinished, keyOf, create, updateUnfinished);
    showRows(part(this.#root, "finished"), finished, keyOf, (upload) => this.#createFinished(upload), updateFinished);
    part(this.#root, "no-unfinished").hidden = unfinished.length > 0;
    part(this.#root, "no-finished").hidden = finished.length > 0;
    setText(part(this.#root, "worker"), `Served by worker ${news.worker}`);
  }

  #createUnfinished(upload) {
    const row = fromTemplate("unfinished-row");
    part(row, "progress").setAttribute("aria-label", `On the server: ${upload.name || upload.id}`);
    part(row, "kill").addEventListener("click", async (event) => {
      const { receiver } = event.currentTarget.dataset;
      announce(`Killing worker ${receiver}.`);
      // It may be the one that answers this: then the connection breaks.
      await fetch(`api/workers/${receiver}/kill`, { method: "POST" }).catch(() => {});
      this.#refresh();
    });
    return row;
  }

  #createFinished(upload) {
    const row = fromTemplate("finished-row");
    const name = part(row, "name");
    setText(name, upload.name);
    name.href = upload.url;
    part(row, "download").href = upload.url;
    setText(part(row, "size"), size(upload.length));
    for (const action of ["verify", "download", "delete"]) {
      part(row, action).setAttribute("aria-label", `${part(row, action).textContent} ${upload.name}`);
    }
    part(row, "verify").addEventListener("click", () => this.#verify(row, upload));
    part(row, "choice").addEventListener("change", (event) => {
      this.#localFiles.set(upload.id, event.target.files[0]);
      this.#verify(row, upload);
    });
    part(row, "delete").addEventListener("click", () => this.#delete(row, upload));
    return row;
  }

  async #verify(row, upload) {
    const file = this.#localFiles.get(upload.id);
    const result = part(row, "result");
    part(row, "verify").disabled = true;
    row.dataset.verified = "running";
    try {
      const asked = digestOnServer(upload);
      asked.catch(() => {}); // reported below, should it fail while the local file is still being read
      setText(result, "The server is reading its copy…");
      const local = file && (await sha256(file, (done) => setText(result, reading(done, file.size))));
      const remote = await asked;
      setText(part(row, "digest"), `SHA-256 ${remote}`);
      row.dataset.verified = local ? String(local === remote) : "server";
      setText(result, verdict(local, remote));
    } catch (error) {
      row.dataset.verified = "error";
      setText(result, `Could not compare: ${error.message}`);
    } finally {
      part(row, "verify").disabled = false;
      part(row, "choose").hidden = row.dataset.verified !== "server";
    }
    announce(`${upload.name}: ${result.textContent}`);
  }

  async #delete(row, upload) {
    const button = part(row, "delete");
    if (button.dataset.armed !== "true") {
      arm(button, upload.name);
      return;
    }
    button.disabled = true;
    try {
      await tus.Upload.terminate(new URL(upload.url, document.baseURI).href);
      this.#gone.add(upload.id);
      announce(`${upload.name} was deleted.`);
      this.#refresh();
    } catch {
      setText(part(row, "result"), "It could not be deleted.");
      button.disabled = false;
    }
  }
}

/** The first press asks, the second one within a few seconds does it. */
function arm(button, name) {
  const show = (isArmed, label) => {
    button.dataset.armed = String(isArmed);
    button.textContent = label;
    button.setAttribute("aria-label", `${label} ${name}`);
  };
  show(true, "Really delete?");
  announce("Press again to delete.");
  setTimeout(() => show(false, "Delete"), 4000);
}

async function digestOnServer(upload) {
  const response = await fetch(upload.digest_url, { cache: "no-store" });
  if (!response.ok) throw new Error(`the server responded with ${response.status}.`);
  return (await response.json()).sha256;
}

function reading(done, total) {
  return `Reading your copy: ${percent(total ? done / total : 1)}`;
}

function verdict(local, remote) {
  if (!local) return "This page does not have your copy. Choose it to compare:";
  return local === remote ? "Identical to your copy, byte for byte." : "This is not the same as your copy!";
}

function updateUnfinished(row, upload) {
  const progress = part(row, "progress");
  setText(part(row, "name"), upload.name || upload.id);
  setText(part(row, "kind"), kindOf(upload));
  setText(part(row, "status"), upload.busy ? `${upload.status}, receiving` : upload.status);
  row.dataset.busy = String(upload.busy);
  const length = upload.length === null ? "?" : count(upload.length);
  setText(part(row, "offset"), `${count(upload.received)} / ${length} bytes`);
  progress.max = upload.length || 1;
  progress.value = upload.received;
  setText(part(row, "expires"), upload.expires ? `expires in ${duration(secondsUntil(upload.expires))}` : "");
  setText(part(row, "workers"), workersOf(upload));
  const kill = part(row, "kill");
  kill.hidden = !upload.receiver;
  if (!upload.receiver) return;
  kill.dataset.receiver = upload.receiver;
  setText(kill, `Kill worker ${upload.receiver}`);
  kill.setAttribute("aria-label", `Kill worker ${upload.receiver}, which receives ${upload.name || upload.id}`);
}

/** Which workers have had a hand in it, if the server tells. */
function workersOf({ receiver, killed }) {
  const now = receiver ? `Worker ${receiver} is receiving it.` : "";
  if (!killed) return now;
  const at = killed.continued_at;
  if (at === undefined) return `Worker ${killed.worker} was killed. What has arrived is safe.`;
  return `Worker ${killed.worker} was killed. The upload continued with ${count(at)} bytes in place. ${now}`.trim();
}

/** The protocol, if it was this page that sent it, and what of tus's concatenation it is. */
function kindOf({ protocol, kind }) {
  return [protocol === "ietf" ? "IETF draft" : protocol, { part: "part", final: "from parts", whole: "" }[kind]].filter(Boolean).join(", ");
}

function updateFinished(row, upload) {
  setText(part(row, "when"), moment(upload.finished));
}

function secondsUntil(iso) {
  return (Date.parse(iso) - Date.now()) / 1000;
}
