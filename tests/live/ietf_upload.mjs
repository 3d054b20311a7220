// One file through tus-js-client in one of its IETF modes, over a network that breaks once: what becomes of it, as JSON.
//   node ietf_upload.mjs LIBRARY FILE PORT CUT OPTIONS
// CUT: after how many bytes of a connection it is reset, once; 0 for never.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import net from 'node:net'

const [library, file, port, cut, given] = process.argv.slice(2)
const tus = createRequire(`${library}/`)('tus-js-client')
const { terminate, ...options } = JSON.parse(given)

let left = Number(cut) || Number.POSITIVE_INFINITY
let cuts = 0
const requests = []

const network = net.createServer((client) => {
  const server = net.connect(Number(port), '127.0.0.1')
  let passed = 0
  client.on('data', (data) => {
    if (client.isPaused()) return
    requests.push(...(data.toString('latin1').match(/^(POST|HEAD|PATCH|DELETE) /gm) ?? []))
    const some = data.subarray(0, left - passed)
    passed += some.length
    server.write(some)
    if (passed < left) return
    left = Number.POSITIVE_INFINITY
    cuts += 1
    client.pause()
    setTimeout(() => { client.destroy(); server.destroy() }, 100)
  })
  client.on('error', () => {}).on('close', () => server.destroy())
  server.on('error', () => {}).on('close', () => client.destroy())
  server.pipe(client)
})

network.listen(0, '127.0.0.1', () => {
  const upload = new tus.Upload(fs.readFileSync(file), {
    endpoint: `http://127.0.0.1:${network.address().port}/files/`,
    retryDelays: [100, 100, 100],
    ...options,
    onError: (error) => end({ error: String(error) }),
    onSuccess: async ({ lastResponse }) => {
      const outcome = { path: new URL(upload.url).pathname, status: lastResponse.getStatus() }
      if (terminate) await tus.Upload.terminate(upload.url, { protocol: options.protocol })
      end(outcome)
    },
  })
  upload.start()
})

function end (outcome) {
  console.log(JSON.stringify({ ...outcome, cuts, requests: requests.map((name) => name.trim()) }))
  process.exit()
}
