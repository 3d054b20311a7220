// One file through tus-js-client and a proxy that waits only so long until something is created: what becomes of it, as
// a line of JSON. The proxy is patient with HEAD: when that fails, tus-js-client sends everything again as a new upload.
//   node upload_through_proxy.mjs LIBRARY FILE PORT PATIENCE OPTIONS
import fs from 'node:fs'
import { createRequire } from 'node:module'
import http from 'node:http'

const [library, file, port, patience, options] = process.argv.slice(2)
const tus = createRequire(`${library}/`)('tus-js-client')

const counted = {} // requests by method, and those whose answer came too late
const count = (what) => { counted[what] = (counted[what] ?? 0) + 1 }

const proxy = http.createServer((request, response) => {
  count(request.method)
  const { method, url: path, headers } = request
  const onward = http.request({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
    clearTimeout(timer)
    response.writeHead(answer.statusCode, answer.headers)
    answer.pipe(response)
  })
  const timer = method === 'POST' ? setTimeout(() => {
    count('too late')
    onward.destroy()
    response.writeHead(504).end()
  }, Number(patience)) : undefined
  onward.on('error', () => {})
  request.pipe(onward)
})

proxy.listen(0, '127.0.0.1', () => {
  const upload = new tus.Upload(fs.readFileSync(file), {
    endpoint: `http://127.0.0.1:${proxy.address().port}/files/`,
    ...JSON.parse(options),
    onError: (error) => end({ error: String(error) }),
    onSuccess: () => end({ path: new URL(upload.url).pathname }),
  })
  upload.start()
})

function end (outcome) {
  console.log(JSON.stringify({ ...outcome, counted }))
  process.exit()
}
