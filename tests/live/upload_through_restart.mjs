// One file through tus-js-client to a server that is restarted meanwhile. Each response is a line, "PATCH 204"; before
// the third PATCH it says "ready" and waits for a line. At the end, what became of the file as a line of JSON.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import readline from 'node:readline'

const [library, file, endpoint, options] = process.argv.slice(2)
const tus = createRequire(`${library}/`)('tus-js-client')
const orders = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const given = JSON.parse(options)
const pauses = given.pauseAt ?? 3
delete given.pauseAt
let patches = 0

const upload = new tus.Upload(fs.readFileSync(file), {
  endpoint,
  retryDelays: Array(120).fill(250),
  ...given,
  onBeforeRequest: async (request) => {
    if (request.getMethod() !== 'PATCH' || ++patches !== pauses) return
    console.log('ready')
    await orders.next()
  },
  onAfterResponse: (request, response) => console.log(`${request.getMethod()} ${response.getStatus()}`),
  onError: (error) => end({ error: String(error) }),
  onSuccess: () => end({ url: upload.url, parts: upload._parallelUploadUrls }),
})
upload.start()

function end (outcome) {
  console.log(JSON.stringify(outcome))
  process.exit()
}
