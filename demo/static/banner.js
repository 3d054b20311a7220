// One line across the page: whether there is a connection, and that nothing depends on it.

import { setText } from "./page.js";

const SHOWN = 8000; // ms; for good news
const OFTEN = 3000; // ms from one break to the next, in which nobody can read two lines

export class Banner {
  #element;
  #timer = null;
  #backAt = -Infinity; // when uploads last continued
  #isFlapping = false;

  constructor(element) {
    this.#element = element;
  }

  lost() {
    this.#isFlapping = performance.now() - this.#backAt < OFTEN;
    const what = this.#isFlapping
      ? "The connection keeps breaking. Uploads continue each time."
      : "Connection lost, retrying. Uploads will continue.";
    this.#show("lost", `${what} What the server has is not sent again.`);
  }

  resumed(name, where) {
    this.#good(`${name} continues ${where}.`);
  }

  back() {
    if (this.#element.dataset.kind === "lost") this.#good("The connection is back."); // unless an upload has said more
  }

  #good(text) {
    this.#backAt = performance.now();
    if (this.#isFlapping) this.#clearAfter(OFTEN); // and stay, if it breaks again before
    else this.#show("good", text);
  }

  #show(kind, text) {
    clearTimeout(this.#timer);
    this.#element.dataset.kind = kind;
    setText(this.#element, text);
    if (kind === "good") this.#clearAfter(SHOWN);
  }

  #clearAfter(time) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#isFlapping = false;
      setText(this.#element, "");
    }, time);
  }
}
