// Runs a page in headless Chromium and prints what it writes to its console, one JSON object a line. Driven
// by tests/tests/browser.rs; the one argument is JSON:
//   page     its address
//   scripts  run in it, one after the other, each as a page's own script
// Lines: {"ready"} once the page is there, {"console": [...]} of each call of console.log, {"failed"} for an
// error that nobody caught.
"use strict";

const puppeteer = require("puppeteer-core");

const config = JSON.parse(process.argv[2]);

function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

async function main() {
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
    // Not through a proxy of the surroundings.
    env: { ...process.env, http_proxy: "", https_proxy: "", HTTP_PROXY: "", HTTPS_PROXY: "" },
  });
  // Whoever started this program ends it by ending its input.
  process.stdin.resume().on("end", () => browser.close().finally(() => process.exit()));
  const page = await browser.newPage();
  let printed = Promise.resolve();
  page.on("console", (message) => {
    if (message.type() !== "log") return;
    const values = Promise.all(message.args().map((value) => value.jsonValue()));
    printed = printed.then(() => values).then((values) => print({ console: values }));
  });
  page.on("pageerror", (e) => print({ failed: e.message }));
  await page.goto(config.page);
  print({ ready: true });
  for (const content of config.scripts) await page.addScriptTag({ content });
}

main().catch((e) => {
  print({ failed: e.message });
  process.exit(1);
});
