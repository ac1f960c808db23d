// Tokens of texts by a bundle's encode.mjs: node tokens.mjs ASKED.json ANSWERED.json

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Tokenizer } from "@huggingface/tokenizers";

const [asked, answered] = process.argv.slice(2);
const { folder, texts } = JSON.parse(await readFile(asked, "utf8"));
const { FILES, encode, tokenizerOf } = await import(pathToFileURL(join(folder, "encode.mjs")));
const settings = {};
for (const name of FILES) {
  settings[name] = JSON.parse(await readFile(join(folder, name), "utf8").catch(() => "null"));
}
const tokenizer = tokenizerOf(Tokenizer, settings);
const found = texts.map((text) => {
  try {
    return encode(tokenizer, text, settings["preprocessing.json"]);
  } catch (error) {
    return { error: error.message };
  }
});
await writeFile(answered, JSON.stringify(found));
