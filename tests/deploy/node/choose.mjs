// Which precision a bundle's precisions.mjs chooses: node choose.mjs ASKED.json ANSWERED.json

import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [asked, answered] = process.argv.slice(2);
const { module, cases } = JSON.parse(await readFile(asked, "utf8"));
const { chosen } = await import(pathToFileURL(module));
const found = cases.map(
  ({ table, provider, words }) => chosen(table, undefined, provider, new Set(words)).precision,
);
await writeFile(answered, JSON.stringify(found));
