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

// Images as the page holds them: half-bytes, the grey level 1 to 15, or 0 and then the length, less one, of a run of black pixels.
function unpackImages({ data, count, side }) {
  const bytes = fromBase64(data);
  const images = new Float32Array(count * side * side);
  const half = (i) => (bytes[i >> 1] >> (i & 1 ? 0 : 4)) & 15;
  for (let from = 0, to = 0; to < images.length; from += 1) {
    const level = half(from);
    if (level) images[to++] = level / 15;
    else to += half((from += 1)) + 1;
  }
  return images;
}

// Run a generator function's work at one go, for tests.
function finish(work) {
  let last = work.next();
  while (!last.done) last = work.next();
  return last.value;
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
// Pixels of the image under the mask are never looked at. Yields between the passes.
function* passes(model, method, image, missing, eps) {
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
    for (const noise of eps) {
      decodings.push(decode(model, code(encoded, noise)));
      yield;
    }
  } else if (method === "gibbs") {
    for (const noise of eps) {
      gibbsPass(noise);
      yield;
    }
  } else if (method === "code") {
    for (const noise of eps.slice(0, WARM_UP)) {
      gibbsPass(noise);
      yield;
    }
    let z = encode(model, filled).mu;
    const steps = eps.length - WARM_UP - 1;
    const [mean, square] = [new Float32Array(z.length), new Float32Array(z.length)];
    for (let step = 0; step < steps; step += 1) { // Adam, as in tvae_lib.impute.latent_map
      const { probabilities, gradient } = decodeAndGradient(model, z, image, missing);
      decodings.push(probabilities);
      yield;
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

// The Gaussian that tvae_lib.interactive.page_weights.pack_gaussian fitted to all pixels. Pixels that hardly ever change are left
// out: `pixels` are the others. Yields while it inverts their covariance (Gauss and Jordan, in place).
function* unpackGaussian({ pixels, ridge, data }) {
  const bytes = fromBase64(data);
  const n = pixels.length;
  const floats = new Float32Array(bytes.buffer, 0, PIXELS + n); // the mean of every pixel, the standard deviation of those in `pixels`
  const whole = new Int8Array(bytes.buffer, floats.byteLength); // correlations below the diagonal, row by row, times 127
  const precision = new Float64Array(n * n);
  for (let i = 0, at = 0; i < n; i += 1) {
    const sd = floats[PIXELS + i];
    for (let j = 0; j < i; j += 1, at += 1) precision[i * n + j] = precision[j * n + i] = (whole[at] / 127) * sd * floats[PIXELS + j];
    precision[i * n + i] = (1 + ridge) * sd * sd;
  }
  for (let k = 0; k < n; k += 1) {
    const factor = 1 / precision[k * n + k];
    precision[k * n + k] = 1;
    for (let j = 0; j < n; j += 1) precision[k * n + j] *= factor;
    for (let i = 0; i < n; i += 1) {
      if (i === k) continue;
      const share = precision[i * n + k];
      precision[i * n + k] = 0;
      for (let j = 0; j < n; j += 1) precision[i * n + j] -= share * precision[k * n + j];
    }
    yield;
  }
  return { pixels, mean: floats.slice(0, PIXELS), precision };
}

// The Gaussian's mean of the missing pixels given the others, kept in [0, 1]: with the precision P (the inverse covariance), the
// solution y of P_mm y = -P_mo (x_o - mean_o) is how far the missing pixels are from their mean. Cholesky's method.
function* conditionalMean({ pixels, mean, precision }, image, missing) {
  const n = pixels.length;
  const hidden = pixels.map((pixel, i) => (missing[pixel] ? i : -1)).filter((i) => i >= 0);
  const known = pixels.map((pixel, i) => (missing[pixel] ? -1 : i)).filter((i) => i >= 0);
  const m = hidden.length;
  const root = new Float64Array(m * m);
  const y = new Float64Array(m);
  for (let i = 0; i < m; i += 1) {
    let right = 0;
    for (const j of known) right -= precision[hidden[i] * n + j] * (image[pixels[j]] - mean[pixels[j]]);
    for (let j = 0; j <= i; j += 1) {
      let sum = precision[hidden[i] * n + hidden[j]];
      for (let k = 0; k < j; k += 1) sum -= root[i * m + k] * root[j * m + k];
      root[i * m + j] = i === j ? Math.sqrt(sum) : sum / root[j * m + j];
    }
    for (let k = 0; k < i; k += 1) right -= root[i * m + k] * y[k];
    y[i] = right / root[i * m + i];
    if (i % 20 === 19) yield;
  }
  for (let i = m - 1; i >= 0; i -= 1) {
    for (let k = i + 1; k < m; k += 1) y[i] -= root[k * m + i] * y[k];
    y[i] /= root[i * m + i];
  }
  const filled = Float32Array.from(image, (value, i) => (missing[i] ? mean[i] : value));
  hidden.forEach((i, at) => (filled[pixels[i]] = Math.min(1, Math.max(0, mean[pixels[i]] + y[at]))));
  return filled;
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

// Mean squared error over all pixels of the image, in thousandths, of a prediction for the missing ones.
function errorOfImage(image, prediction, missing) {
  let sum = 0;
  for (let i = 0; i < PIXELS; i += 1) if (missing[i]) sum += (image[i] - prediction[i]) ** 2;
  return (1000 * sum) / PIXELS;
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
    fromBase64, multiply, applyLayer, relu, forward, sigmoid, buildModel, encode, decode, decodeAndGradient, passes, summary, errorOfImage,
    randomPixels, randomSquares, unpackImages, finish, unpackGaussian, conditionalMean,
  };
}
