// Where files come from: the picker, a drop (folders included), the clipboard. And whether they are still there.

/** Call `take(files)` for whatever is chosen with `input`, dropped on `zone`, or pasted while that can be seen. */
export function listenForFiles(zone, input, take) {
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = ""; // the same file may be chosen again
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("is-target");
  });
  for (const end of ["dragleave", "drop"]) zone.addEventListener(end, () => zone.classList.remove("is-target"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    take(await droppedFiles(event.dataTransfer));
  });
  // A file that misses the zone must not replace the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
  window.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length && zone.checkVisibility()) take([...event.clipboardData.files]);
  });
}

async function droppedFiles(dataTransfer) {
  // Entries must be taken before the first await; afterwards the browser has emptied the list.
  const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...dataTransfer.files];
  const found = await Promise.all(entries.map(filesOf));
  return found.flat();
}

async function filesOf(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    file.relativePath = entry.fullPath.slice(1); // as flow.js has it
    return [file];
  }
  const reader = entry.createReader();
  const children = [];
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // 100 at a time
    if (!batch.length) break;
    children.push(...batch);
  }
  return (await Promise.all(children.map(filesOf))).flat();
}

/** Whether the file is still there as it was when it was chosen. */
export async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
