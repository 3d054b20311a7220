// The browser's side of "is it the same file?".

/** The SHA-256 of a file, in hex; `onProgress` hears how many bytes are read. */
export function sha256(file, onProgress) {
  const worker = new Worker(new URL("hash-worker.js", import.meta.url));
  const answer = new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.digest) resolve(data.digest);
      else if (data.error) reject(new Error(data.error));
      else onProgress(data.done);
    };
    worker.onerror = () => reject(new Error("The hash worker did not start."));
    worker.postMessage(file);
  });
  return answer.finally(() => worker.terminate());
}
