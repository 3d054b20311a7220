// One line across the page: whether there is a connection, and that nothing depends on it.

import { setText } from "./page.js";

const SHOWN = 8000; // ms; for good news

export class Banner {
  #element;
  #timer = null;

  constructor(element) {
    this.#element = element;
  }

  lost() {
    this.#show("lost", "Connection lost, retrying. Uploads will continue. What the server has is not sent again.");
  }

  resumed(name, where) {
    this.#show("good", `${name} continues ${where}.`);
  }

  back() {
    this.#show("good", "The server is back.");
  }

  #show(kind, text) {
    clearTimeout(this.#timer);
    this.#element.dataset.kind = kind;
    setText(this.#element, text);
    if (kind === "good") this.#timer = setTimeout(() => setText(this.#element, ""), SHOWN);
  }
}
