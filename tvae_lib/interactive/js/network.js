// The trained models in the page: unpack the weights, encode, decode, fill in missing pixels, draw masks. Typed arrays, no
// drawing, so that tests can run this file alone. As tvae_lib.vae_numpy, tvae_lib.impute and tvae_lib.masks.

const SIDE = 28;
const PIXELS = SIDE * SIDE;
const DRAWS = 30;
const WARM_UP = 5;

function fromBase64(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i += 1) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// One half of a network from the text that tvae_lib.interactive.page_weights.pack made of it: a list of layers.
function unpack({ sizes, data }) {
  const bytes = fromBase64(data);
  const outs = sizes.slice(1);
  const floats = new Float32Array(bytes.buffer, 0, 2 * outs.reduce((sum, out) => sum + out, 0));
  const whole = new Int8Array(bytes.buffer, floats.byteLength);
  let [nextFloat, next] = [0, 0];
  return outs.map((out, i) => {
    const weight = new Float32Array(out * sizes[i]);
    for (let row = 0, at = 0; row < out; row += 1) {
      for (const end = at + sizes[i]; at < end; at += 1) weight[at] = floats[nextFloat + row] * whole[next + at];
    }
    const bias = floats.slice(nextFloat + out, nextFloat + 2 * out);
    nextFloat += 2 * out;
    next += weight.length;
    return { weight, bias };
  });
}

// A model from its packed halves; without an encoder it can only decode.
function buildModel(decoder, encoder) {
  return { df: decoder.df ?? Infinity, decoder: unpack(decoder), encoder: encoder && unpack(encoder) };
}

// out[i, j] = sum over l of a[i, l] b[j, l], for a (m, k) and b (n, k): rows of a against rows of b, two by four, so that every number
// fetched is used several times (three times the speed of the plain loops). Beyond the last row the last is taken again.
function multiply(a, b, out, m, n, k) {
  for (let i = 0; i < m; i += 2) {
    const i1 = Math.min(i + 1, m - 1);
    const [a0, a1] = [i * k, i1 * k];
    for (let j = 0; j < n; j += 4) {
      const j1 = Math.min(j + 1, n - 1);
      const j2 = Math.min(j + 2, n - 1);
      const j3 = Math.min(j + 3, n - 1);
      const b0 = j * k;
      const b1 = j1 * k;
      const b2 = j2 * k;
      const b3 = j3 * k;
      let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
      for (let l = 0; l < k; l += 1) {
        const x0 = a[a0 + l];
        const x1 = a[a1 + l];
        const y0 = b[b0 + l];
        const y1 = b[b1 + l];
        const y2 = b[b2 + l];
        const y3 = b[b3 + l];
        s00 += x0 * y0;
        s01 += x0 * y1;
        s02 += x0 * y2;
        s03 += x0 * y3;
        s10 += x1 * y0;
        s11 += x1 * y1;
        s12 += x1 * y2;
        s13 += x1 * y3;
      }
      out[i * n + j] = s00;
      out[i * n + j1] = s01;
      out[i * n + j2] = s02;
      out[i * n + j3] = s03;
      out[i1 * n + j] = s10;
      out[i1 * n + j1] = s11;
      out[i1 * n + j2] = s12;
      out[i1 * n + j3] = s13;
    }
  }
  return out;
}

// The output (rows, out) of one layer for an input (rows, in).
function applyLayer({ weight, bias }, input, rows = 1) {
  const out = bias.length;
  const values = multiply(input, weight, new Float32Array(rows * out), rows, out, input.length / rows);
  for (let row = 0, at = 0; row < rows; row += 1) for (let j = 0; j < out; j += 1, at += 1) values[at] += bias[j];
  return values;
}

function relu(values) {
  for (let i = 0; i < values.length; i += 1) if (!(values[i] > 0)) values[i] = 0;
  return values;
}

// The input of every layer, then the output of the last; ReLU between layers. Images or codes lie row after row.
function forward(layers, input, rows = 1) {
  const values = [input];
  layers.forEach((layer, i) => {
    const to = applyLayer(layer, values[i], rows);
    values.push(i === layers.length - 1 ? to : relu(to));
  });
  return values;
}

function encode(model, image) {
  const out = forward(model.encoder, image).pop();
  const d = out.length / 2;
  return { mu: out.slice(0, d), sigma: out.slice(d).map((logvar) => Math.exp(0.5 * logvar)) };
}

const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

// Pixel probabilities of a code, or of several, row after row.
function decode(model, z, rows = 1) {
  const values = forward(model.decoder, z, rows).pop();
  for (let i = 0; i < values.length; i += 1) values[i] = sigmoid(values[i]);
  return values;
}

// What the code z decodes to, and the derivative of -log p(observed pixels | z) p(z) with respect to z.
function decodeAndGradient(model, z, image, missing) {
  const values = forward(model.decoder, z);
  const probabilities = values.pop().map(sigmoid);
  let slope = probabilities.map((p, i) => (missing[i] ? 0 : p - image[i]));
  for (let i = model.decoder.length - 1; i >= 0; i -= 1) {
    const { weight } = model.decoder[i];
    const below = new Float32Array(values[i].length);
    for (let row = 0, at = 0; row < slope.length; row += 1) {
      for (let j = 0; j < below.length; j += 1, at += 1) below[j] += weight[at] * slope[row];
    }
    slope = i ? below.map((value, j) => (values[i][j] > 0 ? value : 0)) : below;
  }
  return { probabilities, gradient: slope.map((value, j) => value + pull(model.df, z[j])) };
}

// What every one of the 30 passes of a method decodes to, (784,) each. eps: one noise vector per pass.
// Pixels of the image under the mask are never looked at.
function runPasses(model, method, image, missing, eps) {
  const filled = Float32Array.from(image, (value, i) => (missing[i] ? 0 : value));
  const decodings = [];
  const code = ({ mu, sigma }, noise) => mu.map((value, i) => value + sigma[i] * noise[i]);
  const gibbsPass = (noise) => {
    const probabilities = decode(model, code(encode(model, filled), noise));
    for (let i = 0; i < PIXELS; i += 1) if (missing[i]) filled[i] = probabilities[i];
    decodings.push(probabilities);
  };
  if (method === "single") {
    const encoded = encode(model, filled);
    for (const noise of eps) decodings.push(decode(model, code(encoded, noise)));
  } else if (method === "gibbs") {
    eps.forEach(gibbsPass);
  } else if (method === "code") {
    eps.slice(0, WARM_UP).forEach(gibbsPass);
    let z = encode(model, filled).mu;
    const steps = eps.length - WARM_UP - 1;
    const [mean, square] = [new Float32Array(z.length), new Float32Array(z.length)];
    for (let step = 0; step < steps; step += 1) { // Adam, as in tvae_lib.impute.latent_map
      const { probabilities, gradient } = decodeAndGradient(model, z, image, missing);
      decodings.push(probabilities);
      z = z.map((value, i) => {
        mean[i] += 0.2 * (gradient[i] - mean[i]);
        square[i] += 0.05 * (gradient[i] ** 2 - square[i]);
        const unbiased = Math.sqrt(square[i] / (1 - 0.95 ** (step + 1))) + 1e-8;
        return value - (0.2 * (1 - step / steps) * mean[i]) / (1 - 0.8 ** (step + 1)) / unbiased;
      });
    }
    decodings.push(decode(model, z));
  } else throw new Error(`unknown method ${method}`);
  return decodings;
}

// Which of the first `count` passes a method averages: all, the second half, or the last alone.
function firstKept(method, count) {
  return { single: 0, gibbs: count >> 1, code: count - 1 }[method];
}

// Mean and standard deviation of each pixel over the kept ones of the first `count` decodings.
function summary(method, decodings, count) {
  const kept = decodings.slice(firstKept(method, count), count);
  const [mean, spread] = [new Float32Array(PIXELS), new Float32Array(PIXELS)];
  for (const one of kept) for (let i = 0; i < PIXELS; i += 1) mean[i] += one[i] / kept.length;
  for (const one of kept) for (let i = 0; i < PIXELS; i += 1) spread[i] += (one[i] - mean[i]) ** 2 / kept.length;
  return { mean, spread: spread.map(Math.sqrt) };
}

// Mean squared error over the missing pixels; NaN where none is missing.
function errorOnMissing(image, prediction, missing) {
  let [sum, count] = [0, 0];
  for (let i = 0; i < PIXELS; i += 1) {
    if (!missing[i]) continue;
    sum += (image[i] - prediction[i]) ** 2;
    count += 1;
  }
  return sum / count;
}

// Exactly round(fraction * 784) pixels, by the first steps of a shuffle. uniform: draws from (0, 1).
function randomPixels(uniform, fraction) {
  const order = Array.from({ length: PIXELS }, (_, i) => i);
  const missing = new Uint8Array(PIXELS);
  for (let i = 0; i < Math.round(fraction * PIXELS); i += 1) {
    const other = i + Math.floor(uniform() * (PIXELS - i));
    [order[i], order[other]] = [order[other], order[i]];
    missing[order[i]] = 1;
  }
  return missing;
}

// `count` squares of side 1 to `maxSide`, anywhere they fit.
function randomSquares(uniform, count, maxSide) {
  const missing = new Uint8Array(PIXELS);
  for (let square = 0; square < count; square += 1) {
    const side = 1 + Math.floor(uniform() * maxSide);
    const [top, left] = [uniform(), uniform()].map((u) => Math.floor(u * (SIDE + 1 - side)));
    for (let row = top; row < top + side; row += 1) missing.fill(1, row * SIDE + left, row * SIDE + left + side);
  }
  return missing;
}

if (typeof module !== "undefined") {
  Object.assign(globalThis, require("./numerics.js")); // in the page both files stand in one script
  module.exports = {
    fromBase64, multiply, applyLayer, relu, forward, sigmoid, buildModel, encode, decode, decodeAndGradient, runPasses, summary, errorOnMissing,
    randomPixels, randomSquares,
  };
}
