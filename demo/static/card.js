// How one transfer looks, and what can be done with it.

import { curlCommands } from "./curl.js";
import { count, duration, line, percent, size } from "./format.js";
import { announce, copyFrom, fromTemplate, part, removeRow, setText } from "./page.js";

const STATES = {
  waiting: "Waiting for its turn",
  starting: "Contacting the server",
  sending: "Uploading",
  paused: "Paused",
  retrying: "Connection lost",
  failed: "Failed",
  done: "Complete",
  cancelled: "Cancelled",
};
const MAIN_ACTION = {
  waiting: "Pause",
  starting: "Pause",
  sending: "Pause",
  paused: "Resume",
  retrying: "Try now",
  failed: "Try again",
};
const ANNOUNCED = ["paused", "failed", "done", "cancelled"]; // the banner tells of connections that break
const SECOND_ACTION = { failed: "Dismiss", done: "Dismiss", cancelled: "Dismiss" };

/** The card of `transfer`; it keeps itself up to date. `onRemove` is called when the person is done with it. */
export function createCard(transfer, onRemove) {
  const card = fromTemplate("transfer-card");
  const main = part(card, "main");
  const second = part(card, "second");
  setText(part(card, "name"), transfer.name);
  part(card, "progress").setAttribute("aria-label", `Progress of ${transfer.name}`);

  main.addEventListener("click", () => {
    if (transfer.state === "retrying") transfer.hurry();
    else if (transfer.isBusy || transfer.state === "waiting") transfer.pause();
    else transfer.queue();
  });
  second.addEventListener("click", async () => {
    if (transfer.isOpen) await transfer.cancel();
    removeRow(card);
    onRemove();
  });
  part(card, "copy").addEventListener("click", () => copyFrom(part(card, "copy"), part(card, "curl").textContent));

  let shown = null;
  const show = () => {
    if (transfer.state !== shown) {
      shown = transfer.state;
      if (ANNOUNCED.includes(shown)) announce(`${transfer.name}: ${wordFor(transfer)}. ${transfer.message}`, transfer);
    }
    render(card, transfer);
  };
  transfer.addEventListener("change", show);
  show();
  return card;
}

function render(card, transfer) {
  const { state } = transfer;
  card.dataset.state = state;
  setText(part(card, "state"), wordFor(transfer));
  const progress = part(card, "progress");
  // An empty file is whole from the start; a bar needs a maximum above zero.
  progress.max = transfer.size || 1;
  progress.value = state === "done" ? progress.max : transfer.arrived;
  setText(part(card, "numbers"), numbers(transfer));
  setText(part(card, "note"), note(transfer));
  setText(part(card, "cost"), cost(transfer));
  button(part(card, "main"), MAIN_ACTION[state], transfer.name);
  button(part(card, "second"), SECOND_ACTION[state] ?? "Cancel", transfer.name);
  showCommands(part(card, "commands"), transfer);
}

function wordFor({ state, message }) {
  // With a message it was the server that could not, not the network.
  return state === "retrying" && message ? "Trying again" : STATES[state];
}

function button(element, label, name) {
  element.hidden = !label;
  if (!label) return;
  setText(element, label);
  element.setAttribute("aria-label", `${label} ${name}`);
}

function numbers(transfer) {
  const { state, meter, secondsLeft } = transfer;
  if (state === "done") return size(transfer.size);
  const parts = [`${size(transfer.arrived)} of ${size(transfer.size)}`];
  if (transfer.size) parts.push(percent(transfer.arrived / transfer.size));
  if (state === "sending" && meter.speed !== null) parts.push(`${size(Math.round(meter.speed))}/s`);
  if (state === "sending" && secondsLeft !== null) parts.push(`${duration(secondsLeft)} left`);
  return line(parts);
}

/** What a person may want to know about this state, in one sentence. */
function note(transfer) {
  const { state, message, resumedFrom } = transfer;
  const { resumes } = transfer.tally;
  if (state === "retrying") return `${message || "Nothing is lost."} Retrying. What the server has is not sent again.`;
  if (message) return message;
  if (state === "sending" && resumedFrom !== null) return `Resumed ${transfer.whereResumed}.`;
  if (state === "done" && resumes) return `Arrived intact; resumed ${resumes === 1 ? "once" : `${count(resumes)} times`}.`;
  if (state === "starting" && transfer.id !== null) return "Asking the server how much it has.";
  if (state === "paused") return "Resume whenever you like. After a reload, choose the same file again.";
  return "";
}

function cost({ tally, state, size }) {
  return tally.resumes ? tally.text(state === "done" ? size : undefined) : "";
}

function showCommands(details, transfer) {
  details.hidden = !transfer.url || !transfer.isOpen;
  if (!details.hidden) setText(part(details, "curl"), curlCommands(transfer.url, transfer.name, transfer.protocol));
}
