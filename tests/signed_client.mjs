// Runs an example of docs/signed-uploads.md in node: the variables file, token, done and fail are there.
//   node signed_client.mjs ORIGIN TUS FLOW FILE TOKEN CODE
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import vm from 'node:vm'

const [origin, tusFolder, flowFile, path, token, code] = process.argv.slice(2)
const content = readFileSync(path)

globalThis.token = token
globalThis.done = () => { console.log('done'); process.exit() }
globalThis.fail = (reason) => { console.log(`failed: ${reason}`); process.exit() }

if (code.includes('tus.Upload')) {
  globalThis.tus = createRequire(`${tusFolder}/`)('tus-js-client')
  globalThis.file = content
} else {
  globalThis.window = globalThis
  globalThis.document = {}
  if (!globalThis.navigator) globalThis.navigator = {}
  globalThis.FileList = class {}
  globalThis.XMLHttpRequest = class {
    upload = { addEventListener() {} }
    listeners = {}
    readyState = 0
    addEventListener(name, listener) { this.listeners[name] = listener }
    open(method, url) { this.method = method; this.url = new URL(url, origin) }
    setRequestHeader() {}
    abort() {}
    async send(body) {
      const answer = await fetch(this.url, { method: this.method, body: this.method === 'GET' ? undefined : body })
      this.responseText = await answer.text()
      this.status = answer.status
      this.readyState = 4
      this.listeners.load({ type: 'load' })
    }
  }
  vm.runInThisContext(readFileSync(flowFile, 'utf8'))
  globalThis.file = new File([content], 'letter.txt')
}
globalThis.location = new URL(origin)
vm.runInThisContext(code.replaceAll("'/files/'", `'${origin}/files/'`))
