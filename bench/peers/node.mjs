// The reference server: @tus/server with its file store. node node.mjs PORT FOLDER [HOOK]
// With a hook, the URL of an app, the app is told of every finished upload by a POST, as tusd does it.
import http from 'node:http'

import { FileStore } from '@tus/file-store'
import { EVENTS, Server } from '@tus/server'

const [port, directory, hook] = process.argv.slice(2)
const server = new Server({ path: '/files', datastore: new FileStore({ directory }) })

if (hook) {
  const agent = new http.Agent({ keepAlive: true })
  server.on(EVENTS.POST_FINISH, (request, response, upload) => {
    const body = JSON.stringify({
      Type: 'post-finish',
      Event: { Upload: { ID: upload.id, Size: upload.size, MetaData: upload.metadata ?? {} } },
    })
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }
    http
      .request(hook, { method: 'POST', agent, headers }, (answer) => answer.resume())
      .on('error', console.error)
      .end(body)
  })
}

server.listen({ host: '127.0.0.1', port: Number(port) })
