// One file on its way to the server, whatever the protocol.

import { isReadable } from "./files.js";
import { Meter } from "./meter.js";
import { Tally } from "./tally.js";

const RETRY_AFTER = [500, 1000, 2000, 3000, 5000]; // ms; the last one for ever
const SILENCE = 20_000; // ms without a sign of progress, after which a connection is taken for dead

/**
 * States: waiting → starting → sending → done, with detours over paused, retrying (the connection is lost),
 * failed (the server said no) and cancelled. Every change is a "change" event.
 *
 * The libraries could retry by themselves. It is done here because each attempt then takes the one path that pausing
 * and reloading take too: ask the memory for the upload, ask the server what it has, go on from there.
 *
 * A subclass sends with its library: `send(attempt)`, `abort()`, `connections`, `resumedFrom` in words. It tells what
 * happens by `goesOn`, `located`, `progressed`, `confirm`, `succeeded` and `failed`, as long as `attempt.isCurrent`.
 */
export class Transfer extends EventTarget {
  state = "waiting";
  sent = 0; // bytes that have left, as far as the browser knows
  confirmed = 0; // bytes that the server has acknowledged
  resumedFrom = null; // what the server had when this attempt began, in bytes
  tally = new Tally();
  message = "";
  id = null; // the upload's, on the server
  url = null; // where any client could go on
  meter = new Meter();

  #memory;
  #attempt = { isCurrent: false }; // each start makes a new one; whatever belongs to an older one is stale
  #failures = 0; // in a row, without a byte of progress
  #timer = null;
  #stoppedAt = 0;
  #lastSign = 0;
  #onServer = 0;

  /** memory: what this browser remembers of unfinished uploads. */
  constructor(file, memory) {
    super();
    this.file = file;
    this.#memory = memory;
  }

  get name() {
    return this.file.name;
  }

  get size() {
    return this.file.size;
  }

  /** Bytes to show: those that the server has, if somebody looks; the system may hold many more on their way. */
  get arrived() {
    if (this.state !== "sending" || this.id === null || document.hidden) return this.sent;
    return Math.min(this.sent, Math.max(this.resumedFrom ?? 0, this.confirmed, this.#onServer));
  }

  get isOpen() {
    return !["done", "cancelled"].includes(this.state);
  }

  get isBusy() {
    return ["starting", "sending", "retrying"].includes(this.state);
  }

  get secondsLeft() {
    const speed = this.meter.speed;
    return speed >= 1 ? (this.size - this.arrived) / speed : null;
  }

  // --- what a person can ask for ---

  /** Start, or go on, or try again. */
  start() {
    this.#stop();
    this.#attempt = { isCurrent: true };
    this.message = "";
    this.resumedFrom = null;
    this.tally.begin();
    this.meter.reset();
    this.#lastSign = performance.now();
    this.#set("starting");
    this.send(this.#attempt);
  }

  /** Stop sending; the server keeps what it has. */
  pause() {
    this.#stop();
    this.#set("paused");
  }

  /** Back to the queue. */
  queue() {
    this.#set("waiting");
  }

  /** Stop, and have the server throw away what it has. */
  async cancel() {
    this.#stop();
    this.#set("cancelled");
    const record = await this.#memory.recordOf(this.file);
    if (record) await this.#memory.discard(record);
  }

  /** Do not wait for the next attempt, if one is planned. */
  hurry() {
    if (this.state === "retrying") this.start();
  }

  // --- what the page hears ---

  /** The server tells how much it has; while nothing is being sent, that is the truth. */
  learn(bytes) {
    if (bytes > this.#onServer) this.#lastSign = performance.now();
    this.#onServer = bytes;
    this.tally.report(bytes);
    if (this.state !== "paused" && this.state !== "retrying") return;
    this.sent = bytes;
    this.#changed();
  }

  /** The network tells how many bytes it has carried. */
  count(bytes) {
    if (bytes === this.tally.passed) return;
    this.tally.passed = bytes;
    this.#changed();
  }

  /** To be called every second. A connection of which nothing is heard is given up: a new one may find another way. */
  tick() {
    if (this.state !== "starting" && this.state !== "sending") return;
    const isDead = performance.now() - this.#lastSign > SILENCE && !this.isAssembling;
    if (isDead) this.#retryLater();
    else if (this.state === "sending") {
      this.meter.add(this.arrived);
      this.#changed();
    }
  }

  // --- what the subclass tells ---

  /** Whether the server may be silent without being dead. */
  get isAssembling() {
    return false;
  }

  /** `handle`, for a library to call: not heard once the attempt is over. */
  ifCurrent(attempt, handle) {
    return (...args) => (attempt.isCurrent ? handle.apply(this, args) : undefined);
  }

  /** The server has this much from before. */
  goesOn(bytes) {
    this.resumedFrom = bytes;
    this.sent = bytes;
    this.confirm(bytes);
  }

  located(id, url = null) {
    this.id = id;
    this.url = url;
    this.#changed();
  }

  progressed(sent) {
    if (this.state === "starting") {
      if (this.resumedFrom !== null) this.tally.resumes += 1;
      this.tally.goesOn(this.resumedFrom ?? 0);
      this.#set("sending");
    }
    if (sent !== this.sent) this.#lastSign = performance.now();
    this.sent = sent;
    this.meter.add(this.arrived);
    this.#changed();
  }

  confirm(bytes) {
    this.confirmed = bytes;
    this.tally.report(bytes);
    if (bytes > this.#stoppedAt) this.#failures = 0;
    this.#changed();
  }

  async succeeded() {
    this.sent = this.confirmed = this.size;
    this.#set("done");
    const record = await this.#memory.recordOf(this.file);
    if (record) await this.#memory.retire(record);
  }

  /** status: the answer's, 0 if there was none. message: what it said, if that is fit to be read. */
  async failed(attempt, status, message) {
    // 409 and 423 mean that the server is ahead of us or busy with us: ask again where it is.
    if (status >= 400 && status < 500 && status !== 409 && status !== 423) {
      this.#giveUp(message || `The server responded with ${status}.`);
    } else if (status === 0 && !(await isReadable(this.file))) {
      if (attempt.isCurrent) this.#giveUp("The file has changed or is gone. Choose it again.");
    } else if (attempt.isCurrent) {
      this.#retryLater(status === 409 || status === 423 ? "" : message); // which would say nothing to people
    }
  }

  // --- the states ---

  #stop() {
    this.sent = this.arrived; // what was under way is lost, or the server will tell
    this.#attempt.isCurrent = false;
    clearTimeout(this.#timer);
    this.abort();
  }

  #giveUp(message) {
    this.#stop();
    this.message = message;
    this.#set("failed");
  }

  #retryLater(message = "") {
    this.#stop();
    const delay = RETRY_AFTER[Math.min(this.#failures, RETRY_AFTER.length - 1)];
    this.#failures += 1;
    this.#stoppedAt = this.confirmed;
    this.#timer = setTimeout(() => this.start(), delay);
    this.message = message;
    this.#set("retrying");
  }

  #set(state) {
    this.state = state;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
