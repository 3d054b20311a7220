// A page that uploads to another origin: in pieces, broken off after the first one, and resumed.

globalThis.uploadTo = (endpoint, bytes) =>
  new Promise((resolve) => {
    const methods = [];
    let isBroken = false;
    const upload = new tus.Upload(new Blob([Uint8Array.from(bytes)]), {
      endpoint,
      chunkSize: 1000,
      retryDelays: null,
      metadata: { filename: "blob" },
      onAfterResponse: (request) => methods.push(request.getMethod()),
      onChunkComplete: () => {
        if (isBroken) return;
        isBroken = true;
        upload.abort().then(() => upload.start());
      },
      onError: (error) => resolve({ error: String(error), methods }),
      onSuccess: () => resolve({ url: upload.url, methods }),
    });
    upload.start();
  });

// The same with headers of the app, which refuses the first question about an upload with a 429; and a chunk of flow.js.
globalThis.uploadGuarded = async (url, bytes, withCredentials) => {
  const headers = { "X-API-Key": "k3y", traceparent: "00-1-2-01", baggage: "a=b" };
  const read = (get) => [get("X-Document"), get("X-Own")];
  const outcome = await new Promise((resolve) => {
    const methods = [];
    let isBroken = false;
    const upload = new tus.Upload(new Blob([Uint8Array.from(bytes)]), {
      endpoint: `${url}/files/`,
      chunkSize: 1000,
      retryDelays: [0, 100, 100],
      headers,
      onBeforeRequest: (request) => {
        request.getUnderlyingObject().withCredentials = withCredentials;
      },
      onAfterResponse: (request, response) => methods.push(`${request.getMethod()} ${response.getStatus()}`),
      onChunkComplete: () => {
        if (isBroken) return;
        isBroken = true;
        upload.abort().then(() => upload.start());
      },
      onError: (error) => resolve({ error: String(error), methods }),
      onSuccess: ({ lastResponse }) => resolve({ methods, tus: read((name) => lastResponse.getHeader(name)) }),
    });
    upload.start();
  });
  const query = new URLSearchParams({
    flowIdentifier: "a",
    flowFilename: "a.txt",
    flowTotalSize: bytes.length,
    flowTotalChunks: 1,
    flowChunkNumber: 1,
    flowChunkSize: bytes.length,
  });
  const credentials = withCredentials ? "include" : "omit";
  const chunk = { method: "POST", headers, credentials, body: new Blob([Uint8Array.from(bytes)]) };
  const answer = await fetch(`${url}/flow/?${query}`, chunk);
  const refused = await fetch(`${url}/flow/?${query}`, { ...chunk, headers: {} });
  return {
    ...outcome,
    flow: read((name) => answer.headers.get(name)),
    complete: (await answer.json()).complete,
    refused: refused.status,
  };
};
