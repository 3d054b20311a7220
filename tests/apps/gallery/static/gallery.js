// Uploads a file with flow.js, and waits until the worker has seen it. Returns its state, as /flow/status shows it.
async function send(file, token, show = () => {}) {
  const flow = new Flow({
    target: '/flow/',
    query: { upload_token: token, filetype: file.type },
    chunkSize: 256 * 1024,
    maxChunkRetries: 9,
    chunkRetryInterval: 500,
    permanentErrors: [401, 403, 404, 413, 415, 500, 501],
  })
  const sent = new Promise((done, fail) => {
    flow.on('progress', () => show(flow.progress()))
    flow.on('fileSuccess', done)
    flow.on('fileError', (failed, answer) => fail(new Error(JSON.parse(answer).error)))
  })
  flow.addFile(file)
  flow.upload()
  const { chunks: [chunk] } = await sent
  for (;;) {
    const answer = await fetch('/flow/status?' + new URLSearchParams({ ...flow.opts.query, ...chunk.getParams() }))
    const status = await answer.json()
    if (!answer.ok) throw new Error(status.error)
    if (status.complete && status.processing.state !== 'processing') return status
    await new Promise((resume) => setTimeout(resume, 100))
  }
}

if (globalThis.document?.getElementById) {
  const said = document.getElementById('said')
  document.getElementById('file').onchange = async (event) => {
    const token = location.hash.slice(1)
    try {
      const { id, processing } = await send(event.target.files[0], token, (part) => { said.textContent = `${part * 100} %` })
      said.innerHTML = processing.state === 'ready' ? `<a href="/files/${id}?upload_token=${token}">Ready</a>` : ''
      if (processing.reason) said.textContent = processing.reason
    } catch (error) {
      said.textContent = error.message
    }
  }
}
