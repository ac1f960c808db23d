// Resizes an image with a bundle's pixels.mjs: node resize.mjs ASKED.json ANSWERED.json

import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [asked, answered] = process.argv.slice(2);
const { module, image, wide, high, kernel } = JSON.parse(await readFile(asked, "utf8"));
const { resized } = await import(pathToFileURL(module));
const { data } = resized(image, wide, high, kernel);
await writeFile(answered, JSON.stringify(Array.from(data)));
