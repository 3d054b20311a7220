// One file through tus-js-client, over a network that loses the response to the last PATCH if LOSES is 1; what the page
// gets at the end, as JSON.
//   node last_response.mjs LIBRARY FILE PORT LOSES
import fs from 'node:fs'
import { createRequire } from 'node:module'
import net from 'node:net'

const [library, name, port, loses] = process.argv.slice(2)
const tus = createRequire(`${library}/`)('tus-js-client')
const content = fs.readFileSync(name)
let isLost = loses !== '1'

const network = net.createServer((client) => {
  const server = net.connect(Number(port), '127.0.0.1')
  client.on('error', () => {}).on('close', () => server.destroy())
  server.on('error', () => {}).on('close', () => client.destroy())
  client.pipe(server)
  server.on('data', (data) => {
    if (!isLost && data.toString('latin1').includes(`Upload-Offset: ${content.length}`)) {
      isLost = true
      client.destroy()
      return
    }
    client.write(data)
  })
})

network.listen(0, '127.0.0.1', () => {
  const upload = new tus.Upload(content, {
    endpoint: `http://127.0.0.1:${network.address().port}/files/`,
    metadata: { filename: 'a.png' },
    retryDelays: [100, 100, 100],
    onError: (error) => end({ error: String(error) }),
    onSuccess: async ({ lastResponse }) => {
      let body = lastResponse.getBody()
      const asked = !body
      if (asked) {
        const headers = { 'Tus-Resumable': '1.0.0', 'Upload-Offset': content.length, 'Content-Type': 'application/offset+octet-stream' }
        body = await (await fetch(upload.url, { method: 'PATCH', headers })).text()
      }
      end({ asked, body: JSON.parse(body), photo: lastResponse.getHeader('X-Photo'), path: new URL(upload.url).pathname })
    },
  })
  upload.start()
})

function end (outcome) {
  console.log(JSON.stringify(outcome))
  process.exit()
}
