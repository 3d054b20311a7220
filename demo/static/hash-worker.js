// SHA-256 of a file of any size, block by block, away from the page's own thread. SubtleCrypto would need it in one piece.

importScripts("../vendor/sha256.umd.min.js");

const BLOCK = 4 * 1024 * 1024;

self.onmessage = async ({ data: file }) => {
  try {
    const hash = await self.hashwasm.createSHA256();
    hash.init();
    let next = read(file, 0);
    for (let start = 0; start < file.size; start += BLOCK) {
      const block = await next;
      next = read(file, start + BLOCK); // while this one is hashed
      hash.update(block);
      self.postMessage({ done: start + block.length });
    }
    self.postMessage({ digest: hash.digest("hex") });
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};

async function read(file, start) {
  return new Uint8Array(await file.slice(start, start + BLOCK).arrayBuffer());
}
