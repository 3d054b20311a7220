// A Chromium at the end of a pipe: one JSON command a line on stdin, one JSON answer a line on stdout.
// It has any number of windows, each with cookies and storage of its own; `open` tells the number of a new one.

import fs from "node:fs/promises";
import readline from "node:readline";
import { chromium } from "playwright-core";

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const browser = await chromium.launch({ executablePath: process.argv[2], headless: true, args: ARGS, timeout: 60_000 });

async function open(options) {
  const context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"], ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  // What a person would find in the browser's console; the tests look at it in the end.
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  return commands(context, page, complaints);
}

const commands = (context, page, complaints) => ({
  takeClock: () => page.clock.install(),
  forward: ({ seconds }) => page.clock.fastForward(seconds * 1000),
  goto: ({ url }) => page.goto(url).then(() => null),
  reload: () => page.reload().then(() => null),
  click: ({ selector }) => page.click(selector),
  press: ({ key }) => page.keyboard.press(key),
  select: ({ selector, value }) => page.selectOption(selector, value).then(() => null),
  setFiles: ({ selector, files }) => page.setInputFiles(selector, files),
  drop: async ({ selector, files }) => {
    const { x, y, width, height } = await page.locator(selector).boundingBox();
    const at = { x: x + width / 2, y: y + height / 2, data: { items: [], files, dragOperationsMask: 1 } };
    const session = await context.newCDPSession(page);
    for (const type of ["dragEnter", "dragOver", "drop"]) await session.send("Input.dispatchDragEvent", { type, ...at });
    await session.detach();
  },
  waitFor: ({ selector, state }) => page.waitForSelector(selector, { state }).then(() => null),
  text: ({ selector }) => page.textContent(selector),
  texts: ({ selector }) => page.locator(selector).allTextContents(),
  evaluate: ({ script }) => page.evaluate(script),
  download: async ({ selector }) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
    return download.path();
  },
  forgetCookies: () => context.clearCookies(),
  offline: ({ isOffline }) => context.setOffline(isOffline),
  screenshot: ({ path, whole }) => page.screenshot({ path, fullPage: whole }).then(() => null),
  axe: async ({ source }) => {
    await page.evaluate(await fs.readFile(source, "utf8")); // as a debugger would: the page's policy allows no such script
    const { violations } = await page.evaluate("axe.run()");
    return violations.map(({ id, nodes }) => ({ id, targets: nodes.map(({ target }) => target.join(" ")).join(", ") }));
  },
  complaints: () => complaints,
  close: () => context.close(),
});

const windows = [];
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { command, window, ...args } = JSON.parse(line);
  let answer;
  try {
    if (command === "open") answer = { result: windows.push(await open(args)) - 1 };
    else answer = { result: (await windows[window][command](args)) ?? null };
  } catch (error) {
    answer = { error: String(error.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
