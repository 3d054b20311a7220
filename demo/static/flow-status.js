// flow.js asks for each chunk whether it is there. One question for the whole file spares all of those.

const PATIENCE = 10_000; // ms

/** What the server has of a FlowFile, or null if that cannot be known. */
export function askStatus(endpoint, file) {
  return ask(`${endpoint}status?${queryOf(file)}`);
}

/** What flow.js says of a file with each request: its own parameters, and those that the page has it add. */
export function queryOf(file) {
  const [chunk] = file.chunks;
  const { query } = file.flowObj.opts;
  const added = typeof query === "function" ? query(file, chunk, true) : query;
  return new URLSearchParams({ ...added, ...chunk.getParams() });
}

/** The same, by the upload's id. */
export function askById(endpoint, id) {
  return ask(endpoint + id);
}

async function ask(url) {
  try {
    const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (response.status === 404) return { status: "cancelled" };
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/** Mark the chunks that are there as done, and have the others sent without a question. Returns how many are there. */
export function skipWhatIsThere(file, { missing, status }) {
  const isHere = (chunk) => !missing.some(([start, stop]) => start < chunk.endByte && chunk.startByte < stop);
  const here = status === "unknown" ? [] : file.chunks.filter(isHere);
  for (const chunk of file.chunks) chunk.tested = true;
  for (const chunk of here) chunk.status = () => "success";
  if (here.length === file.chunks.length) {
    // Something has to be asked, or flow.js would never say that the file has succeeded.
    const last = here.at(-1);
    delete last.status;
    last.tested = false;
  }
  return here.length;
}
