// Training small VAEs in the page: loss and gradient of chapter 04 for one hidden layer, Adam, batches, noise. No drawing here, so
// that tests can run this file alone. What takes long is a generator function: it yields every few milliseconds, so that whoever runs
// it can stop in between and let the page breathe.

const BATCH = 100;

// Weights from normal(0, 0.1), biases 0, as in tvae_lib.vae_numpy; the layers of both halves as in network.js.
function newNetwork([width, hidden, d], seed) {
  const { normal } = generator(seed);
  const layer = (from, to) => ({ weight: Float32Array.from({ length: to * from }, () => 0.1 * normal()), bias: new Float32Array(to) });
  return { encoder: [layer(width, hidden), layer(hidden, 2 * d)], decoder: [layer(d, hidden), layer(hidden, width)] };
}

const layersOf = ({ encoder, decoder }) => [...encoder, ...decoder];

function transpose(a, rows) {
  const columns = a.length / rows;
  const out = new Float32Array(a.length);
  for (let i = 0, at = 0; i < rows; i += 1) for (let j = 0; j < columns; j += 1, at += 1) out[j * rows + i] = a[at];
  return out;
}

// The gradient of a layer from the derivatives of its output (rows, out) and its input (rows, in).
function layerGradients(dout, input, rows) {
  const [out, width] = [dout.length / rows, input.length / rows];
  const bias = new Float32Array(out);
  for (let i = 0; i < dout.length; i += 1) bias[i % out] += dout[i];
  return { weight: multiply(transpose(dout, rows), transpose(input, rows), new Float32Array(out * width), out, width, rows), bias };
}

// The derivatives of a layer's input (rows, in) from those of its output.
function inputGradients({ weight, bias }, dout, rows) {
  const width = weight.length / bias.length;
  return multiply(dout, transpose(weight, bias.length), new Float32Array(rows * width), rows, width, bias.length);
}

function gate(slope, values) {
  for (let i = 0; i < slope.length; i += 1) if (!(values[i] > 0)) slope[i] = 0;
  return slope;
}

// The KL of one coordinate and its derivatives, as a function of mu, sigma and the draw eps: the KL itself where `exact`, else from
// this one draw.
function klAndGradient({ df, encoderDf, exact }) {
  const [logQ, logP] = [logDensity(encoderDf), logDensity(df)];
  if (!exact) {
    return (mu, sigma, eps) => {
      const z = mu + sigma * eps;
      const dmu = pull(df, z);
      return [logQ(eps) - Math.log(sigma) - logP(z), dmu, 0.5 * (sigma * eps * dmu - 1)];
    };
  }
  const gaussian = (mu, sigma) => ({ kl: klGaussian(mu, sigma), dmu: mu, dsigma: sigma - 1 / sigma });
  const student = (mu, sigma) => klStudentAndGradient(mu, sigma, df);
  const both = encoderDf !== df ? klApartAndGradient(encoderDf, df) : df === Infinity ? gaussian : student;
  return (mu, sigma) => {
    const { kl, dmu, dsigma } = both(mu, sigma);
    return [kl, dmu, 0.5 * sigma * dsigma];
  };
}

// Loss and gradient of a batch. network: { encoder, decoder }; family: { df, encoderDf, exact, weight }, the prior's degrees of freedom
// and the encoder's, Infinity for a Gaussian, and the weight of the KL; x: (rows, width); eps: (rows, d). Returns means over the batch, `reconstruction` and `kl` (one number per coordinate, without
// its weight), `gradients` of layersOf(network), and `mu` and `logvar`.
function* lossAndGradients(network, family, x, eps, rows) {
  const d = eps.length / rows;
  const priceOf = klAndGradient(family);
  const [first, second] = network.encoder;
  const [third, fourth] = network.decoder;
  const hidden = relu(applyLayer(first, x, rows));
  yield;
  const out = applyLayer(second, hidden, rows);
  const [mu, logvar, z] = [0, 1, 2].map(() => new Float32Array(rows * d));
  const [kl, dmu, dlogvar] = [new Float64Array(d), new Float64Array(rows * d), new Float64Array(rows * d)];
  for (let i = 0; i < rows * d; i += 1) {
    const [row, j] = [Math.floor(i / d), i % d];
    mu[i] = out[row * 2 * d + j];
    logvar[i] = out[row * 2 * d + d + j];
    const sigma = Math.exp(0.5 * logvar[i]);
    z[i] = mu[i] + sigma * eps[i];
    if (!Number.isFinite(z[i])) continue; // the loss below will not be finite
    const [value, byMu, byLogvar] = priceOf(mu[i], sigma, eps[i]);
    kl[j] += value / rows;
    dmu[i] = (family.weight * byMu) / rows;
    dlogvar[i] = (family.weight * byLogvar) / rows;
  }
  yield;
  const behind = relu(applyLayer(third, z, rows));
  const logits = applyLayer(fourth, behind, rows);
  yield;
  let reconstruction = 0;
  for (let i = 0; i < logits.length; i += 1) {
    const small = Math.exp(-Math.abs(logits[i]));
    reconstruction += Math.max(logits[i], 0) + Math.log1p(small) - x[i] * logits[i];
    logits[i] = ((logits[i] > 0 ? 1 : small) / (1 + small) - x[i]) / rows; // from here on the derivative of the loss
  }
  yield;
  const fourthGradients = layerGradients(logits, behind, rows);
  yield;
  const dbehind = gate(inputGradients(fourth, logits, rows), behind);
  yield;
  const thirdGradients = layerGradients(dbehind, z, rows);
  const dz = inputGradients(third, dbehind, rows);
  const dout = new Float32Array(rows * 2 * d);
  for (let i = 0; i < rows * d; i += 1) {
    const at = Math.floor(i / d) * 2 * d + (i % d);
    dout[at] = dz[i] + dmu[i];
    dout[at + d] = 0.5 * (z[i] - mu[i]) * dz[i] + dlogvar[i];
  }
  const secondGradients = layerGradients(dout, hidden, rows);
  const dhidden = gate(inputGradients(second, dout, rows), hidden);
  yield;
  const gradients = [layerGradients(dhidden, x, rows), secondGradients, thirdGradients, fourthGradients];
  return { reconstruction: reconstruction / rows, kl, gradients, mu, logvar };
}

// One step of Adam with its usual constants. memory: what it keeps between steps, at first {}.
function adamStep(network, gradients, memory, rate) {
  memory.steps = (memory.steps ?? 0) + 1;
  memory.moments ??= gradients.map((layer) => Object.fromEntries(["weight", "bias"].map((part) => [part, [0, 1].map(() => new Float32Array(layer[part].length))])));
  const [forMean, forSquare] = [1 - 0.9 ** memory.steps, 1 - 0.999 ** memory.steps];
  layersOf(network).forEach((layer, i) => {
    for (const part of ["weight", "bias"]) {
      const [values, slope, [mean, square]] = [layer[part], gradients[i][part], memory.moments[i][part]];
      for (let k = 0; k < values.length; k += 1) {
        mean[k] += 0.1 * (slope[k] - mean[k]);
        square[k] += 0.001 * (slope[k] * slope[k] - square[k]);
        values[k] -= (rate * (mean[k] / forMean)) / (Math.sqrt(square[k] / forSquare) + 1e-8);
      }
    }
  });
}

// A training run: models with the same first weights, the same batches and the same normal draws behind their noise.
// images: (count, width); families: as in lossAndGradients, which may be changed while it trains.
function newRun(images, sizes, families, seed) {
  const count = images.length / sizes[0];
  const models = families.map((family) => {
    const codes = new Float32Array(count * sizes[2]);
    return { family, network: newNetwork(sizes, seed), memory: {}, codes, logvars: new Float32Array(codes.length), history: [], sums: null };
  });
  return { images, sizes, models, seed, count, steps: 0, order: new Int32Array(count), ordered: null };
}

// A seed for what is drawn anew every time, such as the noise of a step.
const seedOf = ({ seed }, time) => (seed + 1) * 1_000_003 + time * 7919;
const stepsPerEpoch = ({ count }) => Math.floor(count / BATCH);

// Which images the next step takes; every epoch has an order of its own.
function nextRows(run) {
  const [epoch, at] = [Math.floor(run.steps / stepsPerEpoch(run)), run.steps % stepsPerEpoch(run)];
  if (run.ordered !== epoch) {
    const { uniform } = generator(seedOf(run, epoch) + 1);
    for (let i = 0; i < run.count; i += 1) run.order[i] = i;
    for (let i = 0; i < run.count - 1; i += 1) {
      const other = i + Math.floor(uniform() * (run.count - i));
      [run.order[i], run.order[other]] = [run.order[other], run.order[i]];
    }
    run.ordered = epoch;
  }
  return run.order.slice(at * BATCH, (at + 1) * BATCH);
}

// The noise of a step: for t, each normal draw divided by its root of V / df. A new seed for every step, so that it does not depend on
// what the family was before.
function noiseOf(run, { encoderDf }) {
  const next = standardDraws(seedOf(run, run.steps), encoderDf);
  return Float32Array.from({ length: BATCH * run.sizes[2] }, next);
}

// One step of every model; at the end of an epoch its mean losses join the history. The codes of the batch are remembered.
function* trainStep(run, rate) {
  const rows = nextRows(run);
  const [width, , d] = run.sizes;
  const x = new Float32Array(BATCH * width);
  rows.forEach((row, i) => x.set(run.images.subarray(row * width, (row + 1) * width), i * width));
  for (const model of run.models) {
    const found = yield* lossAndGradients(model.network, { ...model.family }, x, noiseOf(run, model.family), BATCH);
    yield;
    if (Number.isFinite(found.reconstruction)) adamStep(model.network, found.gradients, model.memory, rate);
    else run.diverged = true;
    rows.forEach((row, i) => {
      model.codes.set(found.mu.subarray(i * d, (i + 1) * d), row * d);
      model.logvars.set(found.logvar.subarray(i * d, (i + 1) * d), row * d);
    });
    model.sums ??= { reconstruction: 0, kl: new Array(d).fill(0) };
    model.sums.reconstruction += found.reconstruction / stepsPerEpoch(run);
    found.kl.forEach((value, j) => (model.sums.kl[j] += value / stepsPerEpoch(run)));
    yield;
  }
  run.steps += 1;
  if (run.steps % stepsPerEpoch(run) === 0) {
    for (const model of run.models) {
      model.history.push(model.sums);
      model.sums = null;
    }
  }
}

// The codes of all images with the weights as they are now.
function* encodeAll(run) {
  const [width, , d] = run.sizes;
  for (const { network, codes, logvars } of run.models) {
    for (let from = 0; from < run.count; from += BATCH) {
      const rows = Math.min(BATCH, run.count - from);
      const out = forward(network.encoder, run.images.subarray(from * width, (from + rows) * width), rows).pop();
      for (let i = 0; i < rows * d; i += 1) {
        const at = Math.floor(i / d) * 2 * d + (i % d);
        codes[from * d + i] = out[at];
        logvars[from * d + i] = out[at + d];
      }
      yield;
    }
  }
}

if (typeof module !== "undefined") {
  Object.assign(globalThis, require("./numerics.js"), require("./network.js")); // in the page all stand in one script
  module.exports = { unpackImages, newNetwork, layersOf, lossAndGradients, adamStep, newRun, nextRows, noiseOf, trainStep, encodeAll, finish };
}
