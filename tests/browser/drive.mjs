// Drives terminal.html in headless Chromium, as lines of JSON on standard input say; answers each with one line.
//
//   {"do": "connect", "endpoint": URL, "session": NAME, "headers": {…}}   opens the terminal with a ticket
//   {"do": "type", "text": …}                       keys, typed into the page; "\n" is the enter key
//   {"do": "resize", "rows": N, "cols": N}          as when the window changes
//   {"do": "restart"}                               orders a restart of the kernel
//   {"do": "shows", "pattern": …}                   waits until the screen matches; gives the screen
//   {"do": "ending"}                                waits for the end; gives {code, reason}
//
// An answer is {"ok": value} or {"error": text}. CHROMIUM names the browser's program; without it playwright-core's own
// is used. The page and xterm.js come from a port of their own: to the gateway they are another site.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

// The packages are in a cache, not beside this file: NODE_MODULES says where.
const require = createRequire(`${process.env.NODE_MODULES}/`);
const { chromium } = require("playwright-core");
const XTERM = dirname(require.resolve("@xterm/xterm/package.json"));
const PATIENCE = 30_000;

const FILES = {
  "/": ["text/html", fileURLToPath(new URL("terminal.html", import.meta.url))],
  "/xterm/lib/xterm.js": ["text/javascript", `${XTERM}/lib/xterm.js`],
  "/xterm/css/xterm.css": ["text/css", `${XTERM}/css/xterm.css`],
};

async function serve(request, response) {
  const [type, file] = FILES[request.url] ?? [];
  response.writeHead(file ? 200 : 404, { "Content-Type": type ?? "text/plain" });
  response.end(file && (await readFile(file)));
}

// The first free port from here on: not one that the system gives to outgoing connections.
const PORTS = 20900;

function listen(port) {
  return new Promise((listens) => {
    const server = createServer(serve);
    server.once("error", () => listens(listen(port + 1)));
    server.listen(port, "127.0.0.1", () => listens(server));
  });
}

const server = await listen(PORTS);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || undefined,
  // Chromium's sandbox refuses root.
  chromiumSandbox: process.getuid() !== 0,
  args: ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"],
});
const page = await browser.newPage();
const faults = [];
page.on("pageerror", (error) => faults.push(String(error)));
await page.goto(`http://127.0.0.1:${server.address().port}/`);

const COMMANDS = {
  connect: ({ endpoint, session, headers }) =>
    page.evaluate(([...all]) => connect(...all), [endpoint, session, headers]),
  async type({ text }) {
    await page.focus(".xterm-helper-textarea");
    for (const part of text.split(/(\n)/)) {
      await (part === "\n" ? page.keyboard.press("Enter") : page.keyboard.type(part));
    }
  },
  resize: ({ rows, cols }) => page.evaluate(([cols, rows]) => terminal.resize(cols, rows), [cols, rows]),
  restart: () => page.evaluate(() => send({ type: "restart" })),
  async shows({ pattern }) {
    const matches = (source) => new RegExp(source, "m").test(screen());
    try {
      await page.waitForFunction(matches, pattern, { timeout: PATIENCE });
    } catch (error) {
      throw new Error(`${error.message}\n${await page.evaluate(() => screen())}`);
    }
    return page.evaluate(() => screen());
  },
  ending: () => page.evaluate(() => ending),
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const command = JSON.parse(line);
    answer = { ok: (await COMMANDS[command.do](command)) ?? null };
    if (faults.length) answer = { error: faults.splice(0).join("\n") };
  } catch (error) {
    answer = { error: String(error) };
  }
  console.log(JSON.stringify(answer));
}
await browser.close();
server.close();
