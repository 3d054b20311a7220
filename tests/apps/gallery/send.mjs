// Does what the page does, in node, and prints the state of the upload.
//   node send.mjs ORIGIN FLOW PAGE FILE TYPE TOKEN
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import vm from 'node:vm'

const [origin, flow, page, path, type, token] = process.argv.slice(2)
const plain = fetch
globalThis.fetch = (url, options) => plain(new URL(url, origin), options)
globalThis.window = globalThis
globalThis.document = {}
globalThis.navigator ??= {}
globalThis.FileList = class {}
globalThis.XMLHttpRequest = class {
  upload = { addEventListener() {} }
  listeners = {}
  readyState = 0
  addEventListener(name, listener) { this.listeners[name] = listener }
  open(method, url) { this.method = method; this.url = url }
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
for (const script of [flow, page]) vm.runInThisContext(readFileSync(script, 'utf8'))
globalThis.send(new File([readFileSync(path)], basename(path), { type }), token).then(
  (status) => { console.log(JSON.stringify(status)); process.exit() },
  (error) => { console.log(JSON.stringify({ error: error.message })); process.exit() },
)
