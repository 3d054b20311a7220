// flow.js outside of a browser, with as much of one as it asks for; and the guide's own code around it.
// node recipe.mjs <origin> <path of flow.js> <file with the guide's code> <bytes> <chunk size>

import { readFileSync } from 'node:fs'
import vm from 'node:vm'

const [origin, library, recipe, size, chunkSize] = process.argv.slice(2)
const requests = []

globalThis.window = globalThis
globalThis.document = {}
if (!globalThis.navigator) globalThis.navigator = {}
globalThis.FileList = class {}
const realFetch = globalThis.fetch
globalThis.fetch = (url, options) => {
  requests.push(`${options?.method ?? 'GET'} ${new URL(url, origin).pathname}`)
  return realFetch(new URL(url, origin), options)
}

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

vm.runInThisContext(readFileSync(library, 'utf8'))
const flow = new Flow({ target: '/flow/', chunkSize: Number(chunkSize), simultaneousUploads: 3 })
globalThis.flow = flow
vm.runInThisContext(readFileSync(recipe, 'utf8'))
const content = Uint8Array.from({ length: Number(size) }, (_, index) => index * 7 % 251)
flow.on('complete', () => console.log(JSON.stringify(requests)))
flow.on('error', (message) => { throw new Error(message) })
flow.addFile(new File([content], 'report.csv'))
