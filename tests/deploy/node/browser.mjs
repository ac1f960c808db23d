// Uses a bundle's page as a person would: node browser.mjs URL INPUTS.json OUT.json SHOT.png
//
// INPUTS.json holds texts, or paths of images. OUT.json gets what the page then shows:
// [{name, rows: [[label, probability], …]}].

import { readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [url, inputsFile, outFile, shotFile] = process.argv.slice(2);
const inputs = JSON.parse(await readFile(inputsFile, "utf8"));
const profile = await mkdtemp(join(tmpdir(), "page-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM,
  headless: true,
  viewport: { width: 900, height: 900 },
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const page = await context.newPage();
  const elsewhere = [];
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (asked.protocol.startsWith("http") && asked.origin !== new URL(url).origin) {
      elsewhere.push(request.url());
    }
  });
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") console.error(`console: ${message.text()}`);
  });
  await page.goto(url);
  const status = page.locator("#status");
  await status.filter({ hasText: /Ready|failed/ }).waitFor({ timeout: 60_000 });
  const ready = await status.textContent();
  if (await page.locator("#texts").count()) {
    await page.fill("#texts", inputs.join("\n"));
    await page.click("#go");
  } else {
    await page.setInputFiles("#files", inputs);
  }
  await status.filter({ hasText: / ms\.|failed/ }).waitFor({ timeout: 120_000 });
  const said = await status.textContent();
  const found = await page.evaluate(() =>
    [...document.querySelectorAll("#answers h2")].map((head) => ({
      name: head.textContent,
      rows: [...head.nextElementSibling.rows].map((row) => [
        row.cells[0].textContent,
        Number(row.cells[1].textContent),
      ]),
    })),
  );
  await page.screenshot({ path: shotFile });
  await writeFile(outFile, JSON.stringify({ ready, said, found, elsewhere }));
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
