// The few things every part of the page does with the document. Text only ever goes in as textContent.

const SAY_EVERY = 3000; // ms; a screen reader needs time to finish
const unsaid = new Map(); // subject → what to say about it
let sayNext = null;

/** A copy of what a <template> holds. */
export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** The element that carries data-part="name" inside `root`. */
export function part(root, name) {
  return root.querySelector(`[data-part="${name}"]`);
}

/** Set a text, and leave the document alone if that is what it says already. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Say something to people who listen to the page instead of looking at it. What comes too fast is said together, and
 * only the newest about each subject.
 */
export function announce(text, subject = text) {
  unsaid.set(subject, text);
  if (sayNext === null) say();
}

function say() {
  sayNext = null;
  if (!unsaid.size) return;
  document.getElementById("announcer").textContent = [...unsaid.values()].join(" ");
  unsaid.clear();
  sayNext = setTimeout(say, SAY_EVERY);
}

/**
 * Make the children of `list` show `rows`, in their order: rows that stay keep their element, and with it the
 * keyboard's focus.
 */
export function showRows(list, rows, keyOf, create, update) {
  const present = new Map([...list.children].map((element) => [element.dataset.key, element]));
  rows.forEach((row, index) => {
    const key = keyOf(row);
    const element = present.get(key) ?? create(row);
    element.dataset.key = key;
    present.delete(key);
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    update(element, row);
  });
  for (const element of present.values()) removeRow(element);
}

/** Take an element out of its list; if it has the focus, a neighbour gets it. */
export function removeRow(element) {
  if (element.contains(document.activeElement)) {
    const neighbour = element.nextElementSibling ?? element.previousElementSibling;
    const control = neighbour?.querySelector("button:not([hidden]), a");
    if (control) control.focus();
    else focusOnZone();
  }
  element.remove();
}

/** Put the focus where the next file would go in. */
export function focusOnZone() {
  const zone = document.querySelector('[role="tabpanel"]:not([hidden]) [data-part="files"]');
  (zone ?? document.querySelector('[role="tab"][aria-selected="true"]')).focus();
}

/** Copy to the clipboard, and say so on the button. */
export async function copyFrom(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C";
  }
  announce(button.textContent);
  setTimeout(() => {
    button.textContent = label;
  }, 1500);
}
