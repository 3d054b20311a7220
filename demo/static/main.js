// Puts the page together.

import { Banner } from "./banner.js";
import { FlowMemory } from "./flow-memory.js";
import { FlowTransfer } from "./flow-transfer.js";
import { Monitor } from "./monitor.js";
import { NetworkSwitches } from "./network.js";
import { Queue } from "./queue.js";
import { ServerView } from "./server-view.js";
import { Tab } from "./tab.js";
import { wireTabs } from "./tabs.js";
import { showTitle } from "./totals.js";
import { TusMemory } from "./tus-memory.js";
import { TusTransfer } from "./tus-transfer.js";
import { UppyTab } from "./uppy-tab.js";

const { tusUrl, flowUrl, ietfUrl, uploadsUrl, maxSize } = document.body.dataset;
const localFiles = new Map(); // upload id → File, to compare with what the server has

const banner = new Banner(document.getElementById("banner"));
const monitor = new Monitor(uploadsUrl);
const serverView = new ServerView(document.getElementById("server"), localFiles, () => monitor.ask());

const network = new NetworkSwitches(document.getElementById("network"), "api/network");

const queue = new Queue(); // of all tabs: they share the browser's connections
// tus-js-client resolves locations against the endpoint, so that must be absolute.
const tusMemory = new TusMemory(new URL(tusUrl, document.baseURI).href);
const ietfMemory = new TusMemory(new URL(ietfUrl, document.baseURI).href, "ietf");
const flowMemory = new FlowMemory(new URL(flowUrl, document.baseURI).href);
const tabs = [
  new Tab(document.getElementById("panel-tus"), queue, tusMemory, (file, knob) => {
    const chunkSize = Number(knob("chunk-size")) || Number.POSITIVE_INFINITY;
    return new TusTransfer(file, tusMemory, { chunkSize, parallel: Number(knob("parallel")) });
  }),
  new Tab(document.getElementById("panel-flow"), queue, flowMemory, (file, knob) => {
    const [chunkSize, parallel] = [Number(knob("chunk-size")), Number(knob("parallel"))];
    return new FlowTransfer(file, flowMemory, { chunkSize, parallel, method: knob("method") });
  }),
  new Tab(document.getElementById("panel-ietf"), queue, ietfMemory, (file, knob) => {
    const chunkSize = Number(knob("chunk-size")) || Number.POSITIVE_INFINITY;
    return new TusTransfer(file, ietfMemory, { chunkSize, parallel: 1 });
  }),
];
const uppy = new UppyTab(document.getElementById("panel-uppy"), { endpoint: tusMemory.endpoint, maxSize: Number(maxSize) });

for (const tab of [...tabs, uppy]) {
  tab.addEventListener("finished", ({ detail: { id, file } }) => {
    localFiles.set(id, file);
    monitor.ask();
  });
  tab.addEventListener("interrupted", () => banner.lost());
  tab.addEventListener("resumed", ({ detail: { name, whereResumed } }) => banner.resumed(name, whereResumed));
  tab.addEventListener("change", () => showTitle(queue.transfers));
}

monitor.addEventListener("news", ({ detail }) => {
  serverView.show(detail);
  network.show(detail);
  for (const tab of [...tabs, uppy]) tab.hear(detail);
});
monitor.addEventListener("lost", () => banner.lost());
monitor.addEventListener("back", () => {
  banner.back();
  queue.hurry();
});

setInterval(() => queue.tick(), 1000);
wireTabs(document.querySelector('[role="tablist"]'), { uppy: () => uppy.open() });
monitor.ask();
