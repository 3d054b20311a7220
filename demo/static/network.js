// The switches for the network between all pages and the server. They are there if the server runs with `make demo`.

import { announce, part } from "./page.js";

const NAMES = ["slow", "cuts"];
const TRIES = 5;

export class NetworkSwitches {
  #root;
  #url;
  #isSetting = false;

  constructor(root, url) {
    this.#root = root;
    this.#url = url;
    for (const name of NAMES) part(root, name).addEventListener("change", () => this.#set());
  }

  /** Show what the server says: another page may have changed it. */
  show({ network }) {
    this.#root.hidden = !network;
    if (!network || this.#isSetting) return;
    for (const name of NAMES) part(this.#root, name).checked = network[name];
  }

  async #set() {
    this.#isSetting = true;
    const network = Object.fromEntries(NAMES.map((name) => [name, part(this.#root, name).checked]));
    try {
      await this.#put(network);
    } catch {
      announce("The network could not be changed.");
    } finally {
      this.#isSetting = false;
    }
  }

  /** It is the bad network over which this goes, so it may take more than one attempt. */
  async #put(network, tries = TRIES) {
    const headers = { "Content-Type": "application/json" };
    try {
      const response = await fetch(this.#url, { method: "PUT", headers, body: JSON.stringify(network) });
      if (!response.ok) throw new Error(`The server responded with ${response.status}.`);
    } catch (error) {
      if (tries <= 1) throw error;
      await this.#put(network, tries - 1);
    }
  }
}
