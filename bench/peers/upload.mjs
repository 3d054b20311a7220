// tus-js-client, as an app would use it. node upload.mjs URL FILE zeros|defaults; prints what became of it as JSON
import { readFileSync } from 'node:fs'
import { Upload } from 'tus-js-client'

const [endpoint, file, delays] = process.argv.slice(2)
const began = performance.now()
let retries = 0
const say = (error) => {
  const seconds = (performance.now() - began) / 1000
  console.log(JSON.stringify({ error, seconds, retries, url: upload.url }))
  process.exit(0)
}
const upload = new Upload(readFileSync(file), {
  endpoint,
  ...(delays === 'zeros' ? { retryDelays: Array(1000).fill(0) } : {}),
  onBeforeRequest: (request) => {
    if (request.getMethod() === 'HEAD') retries += 1
  },
  onError: (error) => say(String(error).slice(0, 300)),
  onSuccess: () => say(null),
})
upload.start()
