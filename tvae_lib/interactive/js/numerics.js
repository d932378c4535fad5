// The arithmetic of the live figures: densities, Kullback-Leibler terms, a small random generator. No drawing here,
// so that tests can run this file alone.

function logGamma(x) {
  let shift = 0;
  for (; x < 10; x += 1) shift -= Math.log(x); // Stirling's series wants a large argument
  const y = 1 / (x * x);
  return shift + (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / x;
}

// Log density of N(0, 1) where df is Infinity, else of Student's t. Returns a function of z.
function logDensity(df) {
  if (df === Infinity) return (z) => -0.5 * z * z - 0.5 * Math.log(2 * Math.PI);
  const constant = logGamma((df + 1) / 2) - logGamma(df / 2) - 0.5 * Math.log(df * Math.PI);
  return (z) => constant - ((df + 1) / 2) * Math.log1p((z * z) / df);
}

function klGaussian(mu, sigma) {
  return 0.5 * (mu * mu + sigma * sigma - 1) - Math.log(sigma);
}

// KL between t(mu, sigma, df) and t(0, 1, df) by the series of chapter 02, and its derivatives; as tvae_lib.latent.kl_exact_and_grad.
function klStudentAndGradient(mu, sigma, df) {
  const a = mu / Math.sqrt(df);
  const norm = (1 + sigma) ** 2 + a * a; // |u|^2 with u = 1 + sigma + ia
  const re = -((1 - sigma) * (1 + sigma) + a * a) / norm; // -w = -(1 - sigma + ia) / u
  const im = -(2 * sigma * a) / norm;
  const radius = Math.hypot(re, im);
  const half = (df - 1) / 2;
  let [sum, slopeRe, slopeIm] = [0, 0, 0]; // of c_k (-w)^k / k, and of c_k (-w)^(k - 1)
  let [c, powerRe, powerIm, size] = [1, 1, 0, 1];
  for (let k = 1; k <= 20000; k += 1) {
    c *= (half - k + 1) / (half + k);
    size *= radius;
    slopeRe += c * powerRe;
    slopeIm += c * powerIm;
    const next = powerRe * re - powerIm * im;
    powerIm = powerRe * im + powerIm * re;
    powerRe = next;
    sum += (c * powerRe) / k;
    if (Math.abs(c) * size * Math.min(1, 1 / (k * (1 - radius))) < 1e-12) break; // a bound on all that is left out of the sum
  }
  const [squareRe, squareIm] = [((1 + sigma) ** 2 - a * a) / norm ** 2, (-2 * (1 + sigma) * a) / norm ** 2]; // 1 / u^2
  const [stepRe, stepIm] = [slopeRe * squareRe - slopeIm * squareIm, slopeRe * squareIm + slopeIm * squareRe];
  return {
    kl: -Math.log(sigma) + (df + 1) * (0.5 * Math.log(norm / 4) - sum),
    dmu: ((df + 1) / Math.sqrt(df)) * (a / norm - 2 * sigma * stepIm),
    dsigma: -1 / sigma + (df + 1) * ((1 + sigma) / norm - 2 * (stepRe - a * stepIm)),
  };
}

function klStudent(mu, sigma, df) {
  return klStudentAndGradient(mu, sigma, df).kl;
}

// Nodes and weights for an average over a standard density: the double-exponential rule, eps = sinh(pi/2 sinh v) in equal steps.
function averagingRule(df) {
  const log = logDensity(df);
  const nodes = Array.from({ length: 181 }, (_, i) => {
    const v = (i - 90) / 20;
    const u = (Math.PI / 2) * Math.sinh(v);
    return { eps: Math.sinh(u), weight: Math.exp(log(Math.sinh(u))) * Math.cosh(u) * Math.cosh(v) };
  }).filter(({ weight }) => weight > 0);
  const total = nodes.reduce((sum, { weight }) => sum + weight, 0);
  return nodes.map(({ eps, weight }) => ({ eps, weight: weight / total }));
}

// KL(q || p) of an encoder and a prior of any two df, Infinity for Gaussian, and its derivatives. Returns a function of mu and sigma.
function klApartAndGradient(encoderDf, priorDf) {
  const [rule, logQ, logP] = [averagingRule(encoderDf), logDensity(encoderDf), logDensity(priorDf)];
  const minusEntropy = rule.reduce((sum, { eps, weight }) => sum + weight * logQ(eps), 0);
  return (mu, sigma) => {
    let [kl, dmu, dsigma] = [minusEntropy - Math.log(sigma), 0, -1 / sigma];
    for (const { eps, weight } of rule) {
      const z = mu + sigma * eps;
      const slope = weight * pull(priorDf, z);
      kl -= weight * logP(z);
      dmu += slope;
      dsigma += slope * eps;
    }
    return { kl, dmu, dsigma };
  };
}

function klApart(encoderDf, priorDf) {
  const both = klApartAndGradient(encoderDf, priorDf);
  return (mu, sigma) => both(mu, sigma).kl;
}

// Minus the score: how hard the prior pulls at z.
function pull(df, z) {
  return df === Infinity ? z : ((df + 1) * z) / (df + z * z);
}

// 1, 1.05, ..., 2, 2.1, ..., 5, 5.25, ..., 10, ...: round numbers, evenly spread on a log axis to the eye.
function ladder(low, high) {
  const values = [];
  for (let exponent = -3; exponent <= 5; exponent += 1) {
    for (const [start, stop, step] of [[1, 2, 0.05], [2, 5, 0.1], [5, 10, 0.25]]) {
      for (let i = 0; i < Math.round((stop - start) / step); i += 1) {
        const value = Number(((start + i * step) * 10 ** exponent).toPrecision(6));
        if (value >= low && value <= high) values.push(value);
      }
    }
  }
  return values;
}

function niceStep(span, count) {
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((step) => step * power >= raw * (1 - 1e-9));
}

// Upper tail and quantiles of the symmetric density exp(log(z)): a table of its integral over theta, z = scale tan(theta),
// which turns the whole half-line into [0, pi / 2]. Simpson's rule on each of 2000 steps.
function tailTable(log, scale) {
  const steps = 2000;
  const h = Math.PI / 2 / steps;
  const slope = (theta) => Math.exp(log(scale * Math.tan(theta))) * (scale / Math.cos(theta) ** 2);
  const mass = [0];
  for (let i = 0, left = slope(0); i < steps; i += 1) {
    const right = slope(h * (i + 1));
    mass.push(mass[i] + (h / 6) * (left + 4 * slope(h * (i + 0.5)) + right));
    left = right;
  }
  const between = (i, part) => mass[i] + part * (mass[i + 1] - mass[i]);
  const above = (z) => {
    const position = Math.min(Math.atan(Math.abs(z) / scale) / h, steps - 1e-9);
    const tail = mass[steps] - between(Math.floor(position), position % 1);
    return z >= 0 ? tail : 1 - tail;
  };
  const quantile = (p) => {
    const wanted = Math.abs(p - 0.5);
    let [low, high] = [0, steps];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      [low, high] = mass[middle] <= wanted ? [middle, high] : [low, middle];
    }
    const z = scale * Math.tan(h * (low + (wanted - mass[low]) / (mass[high] - mass[low] || 1)));
    return p < 0.5 ? -z : z;
  };
  return { above, quantile };
}

// Seeded random numbers: mulberry32 for uniforms on (0, 1), Box and Muller's cosine for normals, Marsaglia and Tsang's
// rejection for chi-square with any df > 0.
function generator(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  const normal = () => {
    const radius = Math.sqrt(-2 * Math.log(uniform()));
    return radius * Math.cos(2 * Math.PI * uniform());
  };
  const chiSquare = (df) => {
    const small = df < 2; // the rejection wants a gamma shape df / 2 of at least 1: draw at shape + 1, then shrink
    const shrink = small ? uniform() ** (2 / df) : 1;
    const d = df / 2 + (small ? 1 : 0) - 1 / 3;
    for (;;) {
      const x = normal();
      const v = (1 + x / Math.sqrt(9 * d)) ** 3;
      if (v > 0 && Math.log(uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return 2 * d * v * shrink;
    }
  };
  return { uniform, normal, chiSquare };
}

// Student's t from its parts: draws z of N(0, 1) and v of chi-square. Two streams, so that z stays when df changes.
function studentDraws(seed, df) {
  const [forZ, forV] = [generator(seed), generator(seed + 0x9e3779b9)];
  return () => {
    const [z, v] = [forZ.normal(), forV.chiSquare(df)];
    return { z, v, t: z / Math.sqrt(v / df) };
  };
}

// Draws of the standard density of a family. From one seed, all families divide or leave the same normal draws.
function standardDraws(seed, df) {
  if (df === Infinity) return generator(seed).normal;
  const next = studentDraws(seed, df);
  return () => next().t;
}

if (typeof module !== "undefined") {
  module.exports = {
    logGamma, logDensity, klGaussian, klStudent, klStudentAndGradient, averagingRule, klApart, klApartAndGradient, pull, ladder, niceStep, tailTable, generator, studentDraws, standardDraws,
  };
}
