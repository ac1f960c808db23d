// Times files in onnxruntime-node: node time_node.mjs ROUNDS FILE …

import * as ort from "onnxruntime-node";

const [rounds, ...files] = process.argv.slice(2);
const ids = Array.from({ length: 64 }, (_, at) => 5 + at);
const values = { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: ids.map(() => 0) };
const options = { intraOpNumThreads: 1, extra: { session: { x64quantprecision: "1" } } };
const [models, load] = [[], []];
for (const file of files) {
  const seconds = [];
  let session;
  for (let time = 0; time < 3; time += 1) {
    const start = performance.now();
    session = await ort.InferenceSession.create(file, options);
    seconds.push((performance.now() - start) / 1000);
  }
  const feeds = {};
  for (const name of session.inputNames) {
    feeds[name] = new ort.Tensor("int64", BigInt64Array.from(values[name], BigInt), [1, 64]);
  }
  models.push([session, feeds]);
  load.push(Math.min(...seconds));
}
const taken = files.map(() => []);
for (let round = 0; round < Number(rounds) + 3; round += 1) {
  for (const [at, [session, feeds]] of models.entries()) {
    const start = performance.now();
    await session.run(feeds);
    if (round >= 3) taken[at].push((performance.now() - start) / 1000);
  }
}
const median = taken.map((one) => one.sort((a, b) => a - b)[one.length >> 1]);
console.log(JSON.stringify({ load, median }));
