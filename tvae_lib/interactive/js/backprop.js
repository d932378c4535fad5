// Forward and backward pass of chapter 04 for one image, as tvae_lib.vae_numpy.VAE with sizes (2, 3, 1). No drawing here, so that
// tests can run this file alone. A layer is { weight: [row per output], bias: [] }; names are those of the chapter's code.

function linear({ weight, bias }, h) {
  return weight.map((row, o) => row.reduce((sum, w, k) => sum + w * h[k], bias[o]));
}

// The derivative with respect to a layer's input: dout @ weight.
function linearBack({ weight }, dout) {
  return weight[0].map((_, k) => dout.reduce((sum, d, o) => sum + d * weight[o][k], 0));
}

// The derivatives with respect to its parameters: dout.T @ h, and dout itself.
function layerGradient(dout, h) {
  return { weight: dout.map((d) => h.map((value) => d * value)), bias: dout };
}

// family: { df (Infinity: Gaussian), exact (Gaussian only: the closed form of the KL instead of one draw) }.
function forwardPass(net, { df, exact }, x, eps) {
  const relu = (a) => Math.max(0, a);
  const ea = linear(net["encoder.0"], x);
  const e1 = ea.map(relu);
  const [mu, logvar] = linear(net["encoder.1"], e1);
  const sigma = Math.exp(0.5 * logvar);
  const z = mu + sigma * eps;
  const da = linear(net["decoder.0"], [z]);
  const d1 = da.map(relu);
  const logits = linear(net["decoder.1"], d1);
  const pi = logits.map((l) => 1 / (1 + Math.exp(-l)));
  const cost = logits.map((l, i) => Math.max(l, 0) + Math.log1p(Math.exp(-Math.abs(l))) - x[i] * l);
  const reconstruction = cost.reduce((sum, c) => sum + c, 0);
  const logf = logDensity(df);
  const [logf_eps, logf_z] = [logf(eps), logf(z)];
  const kl = exact ? klGaussian(mu, sigma) : logf_eps - Math.log(sigma) - logf_z;
  return { x, eps, ea, e1, mu, logvar, sigma, z, da, d1, logits, pi, cost, reconstruction, logf_eps, logf_z, kl, loss: reconstruction + kl };
}

// Everything of the forward pass `v`, and every derivative of its loss.
function backwardPass(net, { df, exact }, v) {
  const gate = (d, h) => d.map((value, k) => (h[k] > 0 ? value : 0));
  const dlogits = v.pi.map((p, i) => p - v.x[i]);
  const dd1 = gate(linearBack(net["decoder.1"], dlogits), v.d1);
  const dz_decoder = linearBack(net["decoder.0"], dd1)[0];
  const minus_score = pull(df, v.z);
  const g = exact ? dz_decoder : dz_decoder + minus_score; // the exact KL does not depend on z,
  const kl_dsigma = exact ? v.sigma - 1 / v.sigma : -1 / v.sigma;
  const dmu = exact ? g + v.mu : g; // but on mu directly
  const dsigma = v.eps * g + kl_dsigma;
  const dlogvar = 0.5 * v.sigma * dsigma;
  const dout = [dmu, dlogvar];
  const de1 = gate(linearBack(net["encoder.1"], dout), v.e1);
  const grad = {
    "encoder.0": layerGradient(de1, v.x),
    "encoder.1": layerGradient(dout, v.e1),
    "decoder.0": layerGradient(dd1, [v.z]),
    "decoder.1": layerGradient(dlogits, v.d1),
  };
  return { ...v, dlogits, dd1, dz_decoder, minus_score, g, kl_dsigma, dmu, dsigma, dlogvar, de1, grad };
}

// The network after one step of gradient descent.
function descend(net, grad, rate) {
  const minus = (value, d) => (Array.isArray(value) ? value.map((v, i) => minus(v, d[i])) : value - rate * d);
  return Object.fromEntries(
    Object.entries(net).map(([layer, { weight, bias }]) => [
      layer,
      { weight: minus(weight, grad[layer].weight), bias: minus(bias, grad[layer].bias) },
    ]),
  );
}

if (typeof module !== "undefined") {
  Object.assign(globalThis, require("./numerics.js")); // in the page both files stand in one script
  module.exports = { forwardPass, backwardPass, descend };
}
