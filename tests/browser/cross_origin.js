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
