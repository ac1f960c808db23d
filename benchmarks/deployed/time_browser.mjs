// Times files in a browser: node time_browser.mjs CHROMIUM ADDRESS PROVIDER ROUNDS COUNT

import { chromium } from "playwright-core";

const [executablePath, address, provider, rounds, count] = process.argv.slice(2);
const gpu =
  provider === "webgpu"
    ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
    : ["--disable-gpu"];
const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: ["--no-sandbox", "--disable-quic", "--no-first-run", ...gpu],
});
try {
  const page = await browser.newPage();
  page.on("console", (message) => console.error(message.text()));
  await page.goto(address);
  await page.waitForFunction(() => window.timed !== undefined);
  const found = await page.evaluate(
    ([name, times, files]) => window.timed(name, times, files),
    [provider, Number(rounds), Number(count)],
  );
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
}
