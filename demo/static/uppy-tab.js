// The tab of Uppy: its Dashboard brings its own cards and buttons. This only counts, and tells the page.

import { count } from "./format.js";
import { announce, fromTemplate, part, setText } from "./page.js";
import { Tally } from "./tally.js";

const RETRY_AFTER = [0, 500, 1000, 3000, 5000, 10_000, 30_000, 60_000]; // ms; from the start after each progress

/** Events: "finished", "interrupted" and "resumed", as those of a Tab. */
export class UppyTab extends EventTarget {
  #panel;
  #settings;
  #isOpen = false;
  #uploads = new Map(); // Uppy's id of a file → { name, file, id, tally, row }

  /** settings: { endpoint, maxSize } */
  constructor(panel, settings) {
    super();
    this.#panel = panel;
    this.#settings = settings;
  }

  /** Uppy is large: it is loaded when somebody wants to see it. */
  async open() {
    if (this.#isOpen) return;
    this.#isOpen = true;
    try {
      const style = document.createElement("link");
      Object.assign(style, { rel: "stylesheet", href: this.#panel.dataset.style });
      const styled = new Promise((resolve, reject) => Object.assign(style, { onload: resolve, onerror: reject }));
      document.head.prepend(style); // before the page's own, which may differ
      const [library] = await Promise.all([import(this.#panel.dataset.script), styled]);
      part(this.#panel, "loading").hidden = true;
      this.#start(library);
    } catch {
      this.#isOpen = false;
      setText(part(this.#panel, "loading"), "Uppy could not be loaded. Open this tab again.");
    }
  }

  /** What the server says about its uploads. */
  hear({ unfinished, passed }) {
    for (const upload of this.#uploads.values()) {
      const found = unfinished.find(({ id }) => id === upload.id);
      if (found) upload.tally.report(found.received);
      upload.tally.passed = passed?.[upload.id] ?? null;
      show(upload);
    }
  }

  #start({ Uppy, Dashboard, Tus }) {
    const { endpoint, maxSize } = this.#settings;
    const uppy = new Uppy({
      autoProceed: true,
      meta: { protocol: "Uppy" }, // so that the server's side can say so
      restrictions: { maxFileSize: maxSize || null },
    });
    uppy.use(Dashboard, {
      target: part(this.#panel, "dashboard"),
      inline: true,
      width: "100%",
      height: 380,
      theme: "auto",
      proudlyDisplayPoweredByUppy: false,
      doneButtonHandler: null,
    });
    // Uppy leaves out that one file is a list, too; screen readers need it.
    new MutationObserver(() => {
      for (const list of this.#panel.querySelectorAll(".uppy-Dashboard-files:not([role])")) list.role = "list";
    }).observe(part(this.#panel, "dashboard"), { childList: true, subtree: true });
    uppy.use(Tus, { endpoint, limit: 3, retryDelays: RETRY_AFTER, removeFingerprintOnSuccess: true });
    uppy.on("file-added", (file) => this.#watch(uppy, file));
    uppy.on("file-removed", (file) => this.#forget(file));
    uppy.on("upload-success", (file, { uploadURL }) => this.#succeeded(file, uploadURL));
  }

  /** Hear what tus-js-client has to say about a file, which Uppy's own events leave out. */
  #watch(uppy, file) {
    const upload = { name: file.name, file: file.data, id: null, tally: new Tally(), row: null, note: "", isDone: false };
    this.#uploads.set(file.id, upload);
    const tus = {
      allowedMetaFields: ["name", "type", "protocol", ...(file.meta.relativePath ? ["relativePath"] : [])], // "null" else
      onBeforeRequest: (request) => {
        if (request.getMethod() === "HEAD") upload.tally.begin();
      },
      onAfterResponse: (request, response) => {
        if (request.getMethod() !== "HEAD" || !isFine(response)) return;
        this.#resumed(upload, Number(response.getHeader("Upload-Offset")));
      },
      onProgress: () => {
        upload.id ??= uppy.getFile(file.id)?.tus?.uploadUrl?.split("/").at(-1) ?? null;
      },
      onShouldRetry: (error, _attempt, _options, isWorthIt) => {
        if (!error.originalResponse) this.#tell("interrupted", upload);
        return isWorthIt(error);
      },
    };
    uppy.setFileState(file.id, { tus });
  }

  #resumed(upload, offset) {
    upload.tally.goesOn(offset);
    upload.tally.resumes += 1;
    this.#tell("resumed", { name: upload.name, whereResumed: `from byte ${count(offset)}` });
    if (!upload.row) {
      upload.row = fromTemplate("cost-row");
      setText(part(upload.row, "name"), upload.name);
      part(this.#panel, "costs").prepend(upload.row);
    }
    upload.note = `Resumed from byte ${count(offset)}.`;
    show(upload);
  }

  #succeeded(file, url) {
    const upload = this.#uploads.get(file.id);
    const { name, tally } = upload;
    upload.note = `Arrived intact; resumed ${tally.resumes === 1 ? "once" : `${count(tally.resumes)} times`}.`;
    upload.isDone = true;
    show(upload);
    announce(`${name}: Complete.`, upload);
    this.#tell("finished", { id: url.split("/").at(-1), file: upload.file });
  }

  #forget(file) {
    this.#uploads.get(file.id)?.row?.remove();
    this.#uploads.delete(file.id);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function show({ row, note, tally, isDone, file }) {
  if (!row) return;
  setText(part(row, "note"), note);
  setText(part(row, "cost"), tally.text(isDone ? file.size : undefined));
}

function isFine(response) {
  return response.getStatus() === 200 || response.getStatus() === 204;
}
