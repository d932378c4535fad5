// Timings of the training in the page: `node benchmarks/page.js`, or as a part of benchmarks/run.py. Prints JSON: medians in ms.

const path = require("node:path");

const js = path.join(__dirname, "..", "tvae_lib", "interactive", "js");
const { multiply } = require(path.join(js, "network.js"));
const { finish, newRun, trainStep } = require(path.join(js, "training.js"));
const REPEATS = 41;

function plainProduct(a, b, out, m, n, k) {
  for (let i = 0; i < m; i += 1) {
    for (let j = 0; j < n; j += 1) {
      let sum = 0;
      for (let l = 0; l < k; l += 1) sum += a[i * k + l] * b[j * k + l];
      out[i * n + j] = sum;
    }
  }
  return out;
}

function medians(functions) {
  const times = functions.map(() => []);
  for (let repeat = -5; repeat < REPEATS; repeat += 1) {
    functions.forEach((work, i) => {
      const started = performance.now();
      work();
      if (repeat >= 0) times[i].push(performance.now() - started);
    });
  }
  return times.map((series) => series.sort((a, b) => a - b)[Math.floor(REPEATS / 2)]);
}

// The product of the first layer: a batch of 100 images of 196 pixels, 128 hidden units.
const [rows, outs, width] = [100, 128, 196];
const [a, b] = [rows, outs].map((count) => Float32Array.from({ length: count * width }, Math.random));
const out = new Float32Array(rows * outs);
const [plain, blocked] = medians([plainProduct, multiply].map((product) => () => product(a, b, out, rows, outs, width)));

// A step of training: random pixels take as long as digits.
const images = Float32Array.from({ length: 3000 * width }, Math.random);
const steps = [{ df: Infinity }, { df: 5 }].map(({ df }) => {
  const run = newRun(images, [width, outs, 2], [{ df, encoderDf: df, exact: true, weight: 1 }], 0);
  return () => finish(trainStep(run, 0.004));
});
const [gaussian, t] = medians(steps);

console.log(JSON.stringify({ operations: 2 * rows * outs * width, plain, blocked, gaussian, t }));
