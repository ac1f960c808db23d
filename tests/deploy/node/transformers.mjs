// Uses a folder with Transformers.js: node transformers.mjs ASKED.json ANSWERED.json

import { readFile, writeFile } from "node:fs/promises";
import { env, pipeline } from "@huggingface/transformers";

const [asked, answered] = process.argv.slice(2);
const { models, name, task, inputs, loading, options } = JSON.parse(await readFile(asked, "utf8"));
env.allowRemoteModels = false;
env.localModelPath = models;
const use = await pipeline(task, name, loading);
const found = [];
for (const input of inputs) {
  const answer = await use(input, options);
  found.push(answer.tolist?.() ?? answer);
}
await writeFile(answered, JSON.stringify(found));
