// All transfers together: one line, and what can be done with all of them at once.

import { count, duration, line, percent, size } from "./format.js";
import { part, setText } from "./page.js";

const TITLE = document.title;

/** dismissFinished: takes away the cards of what has arrived. */
export function wireTotals(panel, { pauseAll, resumeAll, dismissFinished }) {
  part(panel, "pause-all").addEventListener("click", pauseAll);
  part(panel, "resume-all").addEventListener("click", resumeAll);
  part(panel, "dismiss-all").addEventListener("click", dismissFinished);
}

export function showTotals(panel, transfers) {
  part(panel, "totals").hidden = transfers.length < 2;
  part(panel, "pause-all").disabled = !inState(transfers, "waiting", "starting", "sending", "retrying");
  part(panel, "resume-all").disabled = !inState(transfers, "paused", "failed");
  part(panel, "dismiss-all").disabled = !inState(transfers, "done");

  const { files, total, sent, isMoving } = summary(transfers);
  const speed = sum(transfers, (transfer) => (transfer.state === "sending" ? transfer.meter.speed : 0));
  const words = [`${count(inState(transfers, "done"))} of ${count(files)} files`, `${size(sent)} of ${size(total)}`];
  words.push(share(sent, total));
  if (isMoving && speed >= 1) words.push(`${size(Math.round(speed))}/s`, `${duration((total - sent) / speed)} left`);
  setText(part(panel, "sum"), line(words));
}

/** The window's title, for people who look elsewhere meanwhile. */
export function showTitle(transfers) {
  const { total, sent, isMoving } = summary(transfers);
  document.title = isMoving ? `${share(sent, total)} · ${TITLE}` : TITLE;
}

function summary(transfers) {
  const welcome = transfers.filter((transfer) => !["failed", "cancelled"].includes(transfer.state));
  return {
    files: welcome.length,
    total: sum(welcome, (transfer) => transfer.size),
    sent: sum(welcome, (transfer) => transfer.arrived),
    isMoving: inState(transfers, "starting", "sending", "retrying") > 0,
  };
}

function inState(transfers, ...states) {
  return transfers.filter((transfer) => states.includes(transfer.state)).length;
}

function share(sent, total) {
  return percent(total ? sent / total : 1);
}

function sum(transfers, valueOf) {
  return transfers.reduce((total, transfer) => total + (valueOf(transfer) ?? 0), 0);
}
