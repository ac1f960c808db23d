// Ranks documents with Transformers.js: node rankings.mjs ASKED.json ANSWERED.json

import { readFile, writeFile } from "node:fs/promises";
import { AutoModelForSequenceClassification, AutoTokenizer, env } from "@huggingface/transformers";

const [askedFile, answeredFile] = process.argv.slice(2);
const { models, name, asked, loading } = JSON.parse(await readFile(askedFile, "utf8"));
env.allowRemoteModels = false;
env.localModelPath = models;
const tokenizer = await AutoTokenizer.from_pretrained(name);
const model = await AutoModelForSequenceClassification.from_pretrained(name, loading);
const found = [];
for (const [query, documents] of asked) {
  const rows = [];
  for (const text of documents) {
    const inputs = tokenizer([query], { text_pair: [text], truncation: true });
    const { logits } = await model(inputs);
    rows.push([text, logits.data[0]]);
  }
  found.push(rows.sort(([, a], [, b]) => b - a));
}
await writeFile(answeredFile, JSON.stringify(found));
