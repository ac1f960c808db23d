// Looks at a report.html as people do: node report.mjs ASKED.json ANSWERED.json
//
// ASKED.json: {page, widths, shots}. ANSWERED.json: a list of what was seen at each width, in light
// and dark: {width, scheme, overflow, said, asked, faults, sorted, told}. `pdf` is its size in bytes.

import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [askedFile, answeredFile] = process.argv.slice(2);
const given = JSON.parse(await readFile(askedFile, "utf8"));
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const seen = [];
let pdf = 0;
try {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of given.widths) {
      // axe-core is put into the page, which its own rules would forbid.
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, bypassCSP: true });
      const page = await context.newPage();
      const said = [];
      const asked = [];
      page.on("console", (message) => said.push(message.text()));
      page.on("pageerror", (error) => said.push(String(error)));
      page.on("request", (request) => asked.push(request.url()));
      await page.goto(`file://${given.page}`);
      await page.screenshot({ path: `${given.shots}-${colorScheme}-${width}.png`, fullPage: true });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      await page.evaluate(axe);
      const found = await page.evaluate(() => axe.run());
      const faults = found.violations.map((one) => `${one.impact}: ${one.id}: ${one.nodes[0].html}`);
      const mark = page.locator("svg .mark").first();
      await mark.focus();
      await page.keyboard.press("ArrowRight");
      const told = await page.locator("#tip").textContent();
      let sorted = null;
      if (width > 700) {
        await page.locator("#stages ~ div thead button").nth(3).click();
        sorted = await page.locator("#stages ~ div tbody").first().locator("th").allTextContents();
      }
      if (pdf === 0) pdf = (await page.pdf({ preferCSSPageSize: true, printBackground: true })).length;
      const elsewhere = asked.filter((url) => !url.startsWith("file://") && !url.startsWith("data:"));
      seen.push({ width, scheme: colorScheme, overflow, said, asked: elsewhere, faults, sorted, told });
      await context.close();
    }
  }
} finally {
  await browser.close();
}
await writeFile(answeredFile, JSON.stringify({ seen, pdf }));
