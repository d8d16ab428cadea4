// Follows with Directus' SDK, unmodified. Driven by tests/tests/directus.rs; the one argument is JSON:
//   sdk       "26", "18" (Node with `ws`), or "chromium" (26, in a page that a server of its own serves)
//   url, token, authMode, heartbeat, raw: see directus/follow.mjs
// Commands come as JSON, one a line, on the standard input, whose end is the program's.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { follow } from "./directus/follow.mjs";

const config = JSON.parse(process.argv[2]);
const here = dirname(fileURLToPath(import.meta.url));

function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

async function inNode() {
  const sdk = await import(config.sdk === "18" ? "directus-sdk-18" : "@directus/sdk");
  const { WebSocket } = await import("ws");
  return follow(sdk, config, WebSocket, print);
}

const PAGE = `<!doctype html><script type="importmap">
{"imports": {"@directus/sdk": "/node_modules/@directus/sdk/dist/index.js"}}
</script>`;

/// Serves this folder, and a page to run in.
function serve() {
  const types = { ".js": "text/javascript", ".mjs": "text/javascript" };
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, "http://x").pathname);
    if (path === "/") {
      response.setHeader("content-type", "text/html");
      return response.end(PAGE);
    }
    try {
      const body = await readFile(join(here, path));
      response.setHeader("content-type", types[extname(path)] ?? "application/octet-stream");
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  return new Promise((resolve) => server.listen(config.page_port ?? 0, "127.0.0.1", () => resolve(server)));
}

async function inChromium() {
  const { default: puppeteer } = await import("puppeteer-core");
  const server = await serve();
  const browser = await puppeteer.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  kill = () => browser.process().kill("SIGKILL");
  const page = await browser.newPage();
  await page.exposeFunction("tell", print);
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.evaluate(async (config) => {
    const sdk = await import("@directus/sdk");
    const { follow } = await import("/directus/follow.mjs");
    window.command = await follow(sdk, config, undefined, (line) => window.tell(line));
  }, config);
  return (command) => page.evaluate((command) => window.command(command), command);
}

let kill = () => {};
const lines = createInterface({ input: process.stdin });
const started = config.sdk === "chromium" ? inChromium() : inNode();
let last = started.then(() => print({ ready: true }));
lines.on("line", (line) => {
  last = last.then(async () => (await started)(JSON.parse(line)));
});
lines.on("close", () => {
  kill();
  process.exit(0);
});
