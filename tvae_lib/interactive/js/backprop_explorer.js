// Backpropagation step by step, chapter 04. The passes are in backprop.js; here are the words of every step and the picture.

// What stands in the picture: name, place (along the flow, across it), step at which the value appears, and the derivatives shown
// from a step on. The same places are used by the still picture in interactive.py.
const NODES = {
  "x.0": { name: "x[0]", at: [0, -0.5], from: 0 },
  "x.1": { name: "x[1]", at: [0, 0.5], from: 0 },
  "e1.0": { name: "e1[0]", at: [1, -1], from: 1, back: [[20, "de1.0"]] },
  "e1.1": { name: "e1[1]", at: [1, 0], from: 1, back: [[20, "de1.1"]] },
  "e1.2": { name: "e1[2]", at: [1, 1], from: 1, back: [[20, "de1.2"]] },
  logvar: { name: "logvar", at: [2, -1], from: 2, back: [[18, "dlogvar"]] },
  mu: { name: "mu", at: [2, 0], from: 2, back: [[17, "dmu"]] },
  eps: { name: "eps", at: [2, 1], from: 0 },
  sigma: { name: "sigma", at: [3, -1], from: 3, back: [[18, "dsigma"]] },
  z: { name: "z", at: [3, 0], from: 4, back: [[15, "dz_decoder"], [17, "g"]] },
  kl: { name: "kl", at: [3, 2], from: 9 },
  "d1.0": { name: "d1[0]", at: [4, -1], from: 5, back: [[13, "dd1.0"]] },
  "d1.1": { name: "d1[1]", at: [4, 0], from: 5, back: [[13, "dd1.1"]] },
  "d1.2": { name: "d1[2]", at: [4, 1], from: 5, back: [[13, "dd1.2"]] },
  "logits.0": { name: "logits[0]", at: [5, -0.5], from: 6, back: [[11, "dlogits.0"]] },
  "logits.1": { name: "logits[1]", at: [5, 0.5], from: 6, back: [[11, "dlogits.1"]] },
  "pi.0": { name: "pi[0]", at: [6, -0.5], from: 7 },
  "pi.1": { name: "pi[1]", at: [6, 0.5], from: 7 },
  reconstruction: { name: "reconstr.", at: [7, 0], from: 8 },
  loss: { name: "loss", at: [7, 2], from: 10 },
};

// The wires in groups: [from, to] pairs, the step at which values pass, and the one at which derivatives have passed back.
const all = (name, count) => Array.from({ length: count }, (_, i) => `${name}.${i}`);
const full = (from, to) => from.flatMap((first) => to.map((second) => [first, second]));
const WIRES = {
  "encoder.0": { pairs: full(all("x", 2), all("e1", 3)), from: 1, back: 21 },
  "encoder.1": { pairs: full(all("e1", 3), ["mu", "logvar"]), from: 2, back: 19 },
  logvar: { pairs: [["logvar", "sigma"]], from: 3, back: 18 },
  sigma: { pairs: [["sigma", "z"]], from: 4, back: 18 },
  mu: { pairs: [["mu", "z"]], from: 4, back: 17 },
  eps: { pairs: [["eps", "z"]], from: 4 },
  "decoder.0": { pairs: full(["z"], all("d1", 3)), from: 5, back: 14 },
  "decoder.1": { pairs: full(all("d1", 3), all("logits", 2)), from: 6, back: 12 },
  pi: { pairs: [["logits.0", "pi.0"], ["logits.1", "pi.1"]], from: 7, back: 11 },
  reconstruction: { pairs: full(all("pi", 2), ["reconstruction"]), from: 8, back: 11 },
  "kl z": { pairs: [["z", "kl"]], from: 9, back: 16, exact: false },
  "kl eps": { pairs: [["eps", "kl"]], from: 9, exact: false },
  "kl mu": { pairs: [["mu", "kl"]], from: 9, back: 16, exact: true },
  "kl sigma": { pairs: [["sigma", "kl"]], from: 9, back: 16 },
  loss: { pairs: [["reconstruction", "loss"], ["kl", "loss"]], from: 10, back: 11 },
};
const RATE = 0.1;
const LAST = 22;

// One object of all numbers: { "e1.0": ..., "grad.encoder.0.weight.0.1": ... }.
function flatten(value, prefix = "") {
  if (typeof value === "number") return { [prefix]: value };
  return Object.assign({}, ...Object.entries(value).map(([name, inner]) => flatten(inner, prefix ? `${prefix}.${name}` : name)));
}

// The steps. `n` writes the number of that name, `p` the same in parentheses where it is negative.
function lesson({ df, exact }, values, n, p) {
  const t = df !== Infinity;
  const relu = (out, inputs, layer, i) => {
    const terms = inputs.map((name, k) => `${p(name)} · ${p(`${layer}.weight.${i}.${k}`)}`).join(" + ");
    return `max(0, ${terms} + ${p(`${layer}.bias.${i}`)}) = max(0, ${n(`${out === "e1" ? "ea" : "da"}.${i}`)})`;
  };
  const sum = (inputs, layer, i) =>
    `${inputs.map((name, k) => `${p(name)} · ${p(`${layer}.weight.${i}.${k}`)}`).join(" + ")} + ${p(`${layer}.bias.${i}`)}`;
  const is = (name, text, key) => `<b>${name}</b> = ${text} = <b>${n(key)}</b>`;
  const isBack = (name, text, key) => `<b class="tvae-new">${name}</b> = ${text} = <b class="tvae-new">${n(key)}</b>`;
  const gated = (out, douts, layer, h, i) => {
    const terms = douts.map((name, o) => `${p(name)} · ${p(`${layer}.weight.${o}.${i}`)}`).join(" + ");
    return isBack(`${out}[${i}]`, `(${terms}) · ${values[`${h}.${i}`] > 0 ? 1 : 0}`, `${out}.${i}`);
  };
  const off = (name) => [0, 1, 2].filter((i) => values[`${name}.${i}`] === 0).map((i) => `${name}[${i}]`);
  const offNote = (name, then) => (off(name).length ? `${off(name).join(" and ")}: ReLU off, ${then}` : "");
  const [hidden, codes, pixels] = [[0, 1, 2], all("e1", 3), [0, 1]];
  const density = t
    ? `log f(e) = const − (${df} + 1) / 2 · log(1 + e² / ${df}) for t with ν = ${df}.`
    : "log f(e) = const − e² / 2 for the Gaussian.";
  const klNodes = exact ? ["mu", "sigma"] : ["eps", "sigma", "z"];
  const pulls = [Infinity, 21, 3, ...(t && df !== 21 && df !== 3 ? [df] : [])];
  const pullLine = (shape) => {
    const gaussian = shape === Infinity;
    const name = gaussian ? "Gaussian: z" : `t, ν = ${shape}: (${shape} + 1) · z / (${shape} + z²)`;
    const key = `pull.${gaussian ? "gaussian" : shape}`;
    const text = `${name} = ${gaussian ? "" : `${shape + 1} · ${p("z")} / (${shape} + ${p("z")}²) = `}${n(key)}`;
    return shape === df ? `<strong style="color:${gaussian ? COLOURS.gaussian : "#a84600"}">${text}</strong> (this model)` : text;
  };

  return [
    {
      title: "Given: an image, noise, weights",
      nodes: ["x.0", "x.1", "eps"],
      lines: [`x = (${n("x.0")}, ${n("x.1")}) is an image of two pixels, eps = ${n("eps")} the noise, drawn once and then kept.`],
      note: "Every step shows the line of the chapter's code and the numbers put in. Values flow forward first, then derivatives flow back.",
    },
    {
      title: "Encoder, hidden layer",
      code: 'e1 = np.maximum(x @ W["encoder.0"].T + b["encoder.0"], 0)',
      sources: all("x", 2), nodes: codes, wires: ["encoder.0"],
      lines: hidden.map((i) => is(`e1[${i}]`, relu("e1", all("x", 2), "encoder.0", i), `e1.${i}`)),
      note: offNote("e1", "it puts out 0."),
    },
    {
      title: "Encoder, output: mu and logvar",
      code: 'mu, logvar = np.split(e1 @ W["encoder.1"].T + b["encoder.1"], 2, axis=1)',
      sources: codes, nodes: ["mu", "logvar"], wires: ["encoder.1"],
      lines: [is("mu", sum(codes, "encoder.1", 0), "mu"), is("logvar", sum(codes, "encoder.1", 1), "logvar")],
      note: "No ReLU: both may be any real number.",
    },
    {
      title: "The scale sigma",
      code: "sigma = np.exp(0.5 * logvar)",
      sources: ["logvar"], nodes: ["sigma"], wires: ["logvar"],
      lines: [is("sigma", `exp(0.5 · ${p("logvar")})`, "sigma")],
    },
    {
      title: "The code z",
      code: "z = mu + sigma * eps",
      sources: ["mu", "sigma", "eps"], nodes: ["z"], wires: ["mu", "sigma", "eps"],
      lines: [is("z", `${n("mu")} + ${p("sigma")} · ${p("eps")}`, "z")],
    },
    {
      title: "Decoder, hidden layer",
      code: 'd1 = np.maximum(z @ W["decoder.0"].T + b["decoder.0"], 0)',
      sources: ["z"], nodes: all("d1", 3), wires: ["decoder.0"],
      lines: hidden.map((i) => is(`d1[${i}]`, relu("d1", ["z"], "decoder.0", i), `d1.${i}`)),
      note: offNote("d1", "it puts out 0."),
    },
    {
      title: "Decoder, output: the logits",
      code: 'logits = d1 @ W["decoder.1"].T + b["decoder.1"]',
      sources: all("d1", 3), nodes: all("logits", 2), wires: ["decoder.1"],
      lines: pixels.map((i) => is(`logits[${i}]`, sum(all("d1", 3), "decoder.1", i), `logits.${i}`)),
    },
    {
      title: "Pixel probabilities",
      code: "pi = expit(logits)",
      sources: all("logits", 2), nodes: all("pi", 2), wires: ["pi"],
      lines: pixels.map((i) => is(`pi[${i}]`, `1 / (1 + exp(−${p(`logits.${i}`)}))`, `pi.${i}`)),
      note: `They should come near the pixels, ${n("x.0")} and ${n("x.1")}.`,
    },
    {
      title: "Loss, first term: reconstruction",
      code: "reconstruction = (np.logaddexp(0, logits) - x * logits).sum()",
      sources: all("pi", 2), nodes: ["reconstruction"], wires: ["reconstruction"],
      lines: [
        ...pixels.map((i) => `pixel ${i}: log(1 + exp(${n(`logits.${i}`)})) − ${p(`x.${i}`)} · ${p(`logits.${i}`)} = ${n(`cost.${i}`)}`),
        is("reconstruction", `${n("cost.0")} + ${p("cost.1")}`, "reconstruction"),
      ],
      note: "In nats.",
    },
    {
      title: exact ? "Loss, second term: the exact KL" : "Loss, second term: the KL of one draw",
      code: exact ? "kl = 0.5 * (mu**2 + sigma**2 - 1) - np.log(sigma)" : "kl = family.log_prob(eps) - np.log(sigma) - family.log_prob(z)",
      sources: klNodes, nodes: ["kl"], wires: exact ? ["kl mu", "kl sigma"] : ["kl z", "kl eps", "kl sigma"],
      lines: exact
        ? [is("kl", `0.5 · (${p("mu")}² + ${p("sigma")}² − 1) − log(${n("sigma")})`, "kl")]
        : [
            `log f(eps) = log f(${n("eps")}) = ${n("logf_eps")}, and log f(z) = log f(${n("z")}) = ${n("logf_z")}`,
            is("kl", `${n("logf_eps")} − log(${n("sigma")}) − ${p("logf_z")}`, "kl"),
          ],
      note: exact ? "Averaged over all noise, so neither eps nor z is in it." : density,
    },
    {
      title: "The loss",
      code: "loss = reconstruction + kl",
      sources: ["reconstruction", "kl"], nodes: ["loss"], wires: ["loss"],
      lines: [is("loss", `${n("reconstruction")} + ${p("kl")}`, "loss")],
      note: "End of the forward pass. Now ask of every number: if it grew a little, how much would the loss grow? Start from the loss and go back.",
    },
    {
      title: "Derivative for the logits: predicted minus true",
      code: "dlogits = expit(logits) - x",
      sources: ["x.0", "x.1"], nodes: [...all("logits", 2), ...all("pi", 2)], wires: ["loss", "reconstruction", "pi"],
      lines: pixels.map((i) => isBack(`dlogits[${i}]`, `${n(`pi.${i}`)} − ${p(`x.${i}`)}`, `dlogits.${i}`)),
      note: "One image, so B = 1. Where the prediction is too low the derivative is negative: a larger logit would lower the loss.",
    },
    {
      title: "Gradient of the decoder's output layer",
      code: 'grad["decoder.1.weight"] = dlogits.T @ d1',
      sources: all("d1", 3), nodes: all("logits", 2), wires: ["decoder.1"],
      table: ["decoder.1", "dlogits", ["dlogits[0]", "dlogits[1]"], "d1"],
      note: `Each entry is the derivative at the end of its wire times the value at its start. ${offNote("d1", "its wires get 0.")}`,
    },
    {
      title: "Back to the decoder's hidden layer",
      code: 'dd1 = dlogits @ W["decoder.1"] * (d1 > 0)',
      sources: all("logits", 2), nodes: all("d1", 3), wires: ["decoder.1"],
      lines: hidden.map((i) => gated("dd1", all("dlogits", 2), "decoder.1", "d1", i)),
      note: offNote("d1", "the factor 0 stops the derivative."),
    },
    {
      title: "Gradient of the decoder's first layer",
      code: 'grad["decoder.0.weight"] = dd1.T @ z',
      sources: ["z"], nodes: all("d1", 3), wires: ["decoder.0"],
      table: ["decoder.0", "dd1", ["dd1[0]", "dd1[1]", "dd1[2]"], "z"],
    },
    {
      title: "Back to the code",
      code: 'dz_decoder = dd1 @ W["decoder.0"]',
      sources: all("d1", 3), nodes: ["z"], wires: ["decoder.0"],
      lines: [isBack("dz_decoder", hidden.map((i) => `${p(`dd1.${i}`)} · ${p(`decoder.0.weight.${i}.0`)}`).join(" + "), "dz_decoder")],
      note: "This is how the reconstruction would change with z. So far, no line of the backward pass has asked for the family.",
    },
    exact
      ? {
          title: "What the exact KL adds",
          code: "kl_dmu, kl_dsigma = mu, sigma - 1 / sigma",
          sources: ["kl"], nodes: ["mu", "sigma"], wires: ["kl mu", "kl sigma"],
          lines: [
            isBack("kl_dmu", "mu", "mu"),
            isBack("kl_dsigma", `${n("sigma")} − 1 / ${p("sigma")}`, "kl_dsigma"),
          ],
          note: "The closed form goes around z, straight to mu and sigma. Choose one of the sampled models to see the score.",
        }
      : {
          title: "The one place where t differs: minus the score",
          code: "-family.score(z)",
          sources: ["kl"], nodes: ["z"], wires: ["kl z"],
          lines: pulls.map(pullLine),
          note: "The pull of the prior at this z. The same line serves all; only the family inside it changes.",
        },
    exact
      ? {
          title: "Derivative for mu",
          code: "dmu = dz_decoder + kl_dmu",
          sources: ["z", "kl"], nodes: ["mu"], wires: ["mu", "kl mu"],
          lines: [isBack("dmu", `${n("dz_decoder")} + ${p("mu")}`, "dmu")],
        }
      : {
          title: "Everything that reaches z, and mu",
          code: "g = dz_decoder - family.score(z); dmu = g",
          sources: ["z"], nodes: ["z", "mu"], wires: ["mu"],
          lines: [isBack("g", `${n("dz_decoder")} + ${p("minus_score")}`, "g"), isBack("dmu", "g", "dmu")],
          note: "z = mu + sigma · eps, so mu moves z one to one.",
        },
    {
      title: "Derivatives for sigma and logvar",
      code: exact ? "dsigma = eps * dz_decoder + kl_dsigma; dlogvar = 0.5 * sigma * dsigma" : "dsigma = eps * g - 1 / sigma; dlogvar = 0.5 * sigma * dsigma",
      sources: ["z", "eps", "kl"], nodes: ["sigma", "logvar"], wires: ["sigma", "logvar", "kl sigma"],
      lines: [
        isBack("dsigma", `${p("eps")} · ${p("g")} ${exact ? `+ ${p("kl_dsigma")}` : `− 1 / ${p("sigma")}`}`, "dsigma"),
        isBack("dlogvar", `0.5 · ${p("sigma")} · ${p("dsigma")}`, "dlogvar"),
      ],
      note: exact ? "0.5 · sigma is the derivative of sigma = exp(0.5 · logvar)." : "−1 / sigma comes from −log(sigma) in the KL; 0.5 · sigma is the derivative of sigma = exp(0.5 · logvar).",
    },
    {
      title: "Gradient of the encoder's output layer",
      code: 'grad["encoder.1.weight"] = dout.T @ e1',
      sources: codes, nodes: ["mu", "logvar"], wires: ["encoder.1"],
      table: ["encoder.1", "dout", ["dmu", "dlogvar"], "e1"],
      note: `dout holds dmu and dlogvar side by side. ${offNote("e1", "its wires get 0.")}`,
    },
    {
      title: "Back to the encoder's hidden layer",
      code: 'de1 = dout @ W["encoder.1"] * (e1 > 0)',
      sources: ["mu", "logvar"], nodes: codes, wires: ["encoder.1"],
      lines: hidden.map((i) => gated("de1", ["dmu", "dlogvar"], "encoder.1", "e1", i)),
      note: offNote("e1", "the factor 0 stops the derivative."),
    },
    {
      title: "Gradient of the encoder's first layer",
      code: 'grad["encoder.0.weight"] = de1.T @ x',
      sources: all("x", 2), nodes: codes, wires: ["encoder.0"],
      table: ["encoder.0", "de1", ["de1[0]", "de1[1]", "de1[2]"], "x"],
      note: "Here it ends: nobody needs the derivative for the image.",
    },
    {
      title: "One step of gradient descent",
      code: `params[name] -= ${RATE} * grad[name]`,
      nodes: ["loss"],
      lines: [`With all 31 weights and biases moved, the same image and the same noise: loss <b>${n("loss")}</b> → <b>${n("after")}</b>.`],
      note: "That is what the gradient is for. Training repeats it with other images and other noise.",
    },
  ];
}

start("backprop", (root) => {
  const [df, layers] = [Number(root.dataset.df), JSON.parse(root.dataset.layers)];
  const [x, eps] = [JSON.parse(root.dataset.x), Number(root.dataset.eps)];
  const net = Object.fromEntries(
    ["encoder.0", "encoder.1", "decoder.0", "decoder.1"].map((name, i) => [name, { weight: layers[i][0], bias: layers[i][1] }]),
  );
  const shapes = [...new Set([21, 3, ...(df ? [df] : [])])].sort((first, second) => second - first);
  const families = [
    { text: "Gaussian, exact KL", df: Infinity, exact: true },
    { text: "Gaussian, one draw", df: Infinity, exact: false },
    ...shapes.map((shape) => ({ text: `t, ν = ${shape}`, df: shape, exact: false })),
  ];
  let family = families.find((one) => one.df === (df || Infinity) && Number(one.exact) === Number(root.dataset.exact));
  let [step, numbers, steps] = [0, {}, []];

  function compute() {
    const values = backwardPass(net, family, forwardPass(net, family, x, eps));
    const after = forwardPass(descend(net, values.grad, RATE), family, x, eps).loss;
    const others = Object.fromEntries([Infinity, ...shapes].map((shape) => [shape === Infinity ? "gaussian" : shape, pull(shape, values.z)]));
    numbers = flatten({ ...net, ...values, after, pull: others });
    steps = lesson(family, numbers, written, (key) => (numbers[key] < 0 ? `(${written(key)})` : written(key)));
  }
  const given = /^(x\.|eps$|(en|de)coder)/;
  const digits = (key) => minus(given.test(key) ? Number(numbers[key].toFixed(3)) : numbers[key].toFixed(3).replace(/^-(0\.0+)$/, "$1"));
  const written = (key) => `<span data-key="${key}">${digits(key)}</span>`;

  const model = choices({
    legend: "Model",
    options: families.map(({ text }, i) => [i, text]),
    start: families.indexOf(family),
    onChange: (i) => {
      family = families[i];
      compute();
      reserve();
      draw(true);
    },
  });
  const slider = element("input", { type: "range", id: uniqueId("tvae"), min: 0, max: LAST, step: 1, value: 0 });
  slider.addEventListener("input", () => go(Number(slider.value)));
  const button = (text, target) => pushButton(text, () => go(target()));
  const [back, next, over] = [button("Back", () => step - 1), button("Next", () => step + 1), button("Start over", () => 0)];
  const words = element("div", { class: "tvae-step" });
  const picture = element("div", { class: "tvae-net" });
  const { live, say } = voice(root, "Backpropagation step by step");
  root.append(
    model.node,
    element("div", { class: "tvae-stepper" }, back, next, over, element("div", { class: "tvae-slide" }, element("label", { for: slider.id }, "Step"), slider)),
    words,
    picture,
    element("p", { class: "tvae-note" }, "Shown to three decimals, computed with all. In the boxes: name, value, and in purple after d the derivative of the loss."),
    live,
  );
  // Arrow keys on the buttons as well; the slider and the radio buttons have their own.
  root.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move || event.target.tagName !== "BUTTON" || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    go(step + move);
  });
  root.backprop = () => ({ step, ...numbers }); // for tests
  compute();

  function go(target) {
    const wanted = Math.min(LAST, Math.max(0, target));
    if (wanted === step) return;
    step = wanted;
    draw(true);
  }

  function pass(k) {
    return k === 0 ? "start" : k <= 10 ? "forward" : k < LAST ? "backward" : "update";
  }

  function table([layer, dout, names, h]) {
    const count = numbers[`${h}.0`] === undefined ? 1 : all(h, 3).filter((key) => key in numbers).length;
    const inputs = count === 1 ? [[h, h]] : all(h, count).map((key, i) => [`${h}[${i}]`, key]);
    const keys = names.map((name, i) => (dout === "dout" ? name : `${dout}.${i}`));
    const head = inputs.map(([name, key]) => `<th scope="col">${name}<br>${written(key)}</th>`).join("");
    const rows = names.map((name, o) => {
      const cells = inputs.map((_, k) => `<td>${written(`grad.${layer}.weight.${o}.${k}`)}</td>`).join("");
      return `<tr><th scope="row">${name} ${written(keys[o])}</th>${cells}<td>${written(`grad.${layer}.bias.${o}`)}</td></tr>`;
    });
    return `<table><thead><tr><td></td>${head}<th scope="col">bias<br>1</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }

  function write(k) {
    const { title, code, lines = [], note, table: entries } = steps[k];
    words.dataset.pass = pass(k);
    const phase = { start: "Before the start", forward: "Forward", backward: "Backward", update: "Afterwards" }[pass(k)];
    words.innerHTML =
      `<p class="tvae-phase">${phase} · step ${k} of ${LAST}</p><p class="tvae-heading">${title}</p>` +
      (code ? `<p><code>${code}</code></p>` : "") +
      lines.map((line) => `<p class="tvae-line">${line}</p>`).join("") +
      (entries ? table(entries) : "") +
      (note ? `<p class="tvae-note">${note}</p>` : "");
  }

  // Room for the longest step, so that the picture stays where it is.
  function reserve() {
    words.style.minHeight = "";
    let most = 0;
    for (let k = 0; k <= LAST; k += 1) {
      write(k);
      most = Math.max(most, words.offsetHeight);
    }
    words.style.minHeight = `${most}px`;
  }

  function spoken() {
    const { title, lines = [], note, table: entries } = steps[step];
    const plain = (html) => Object.assign(document.createElement("div"), { innerHTML: html }).textContent;
    const cells = ([layer, , names]) =>
      names.map((one, o) => {
        const row = Object.keys(numbers).filter((key) => key.startsWith(`grad.${layer}.weight.${o}.`));
        return `Row ${one}: ${row.map(digits).join(", ")}; bias ${digits(`grad.${layer}.bias.${o}`)}.`;
      });
    const parts = [...lines.map((line) => plain(line).replace(/\.?$/, ".")), ...(entries ? cells(entries) : []), plain(note ?? "")];
    return `Step ${step} of ${LAST}, ${pass(step)}. ${title}. ${parts.join(" ")}`.trim();
  }

  function drawNetwork() {
    const { sources = [], nodes, wires = [], table: entries } = steps[step]; // where wires get their gradient, nothing moves: no tips
    const direction = step > 10 && step < LAST ? "backward" : "forward";
    const [boxWidth, boxHeight] = [60, 50];
    const available = picture.clientWidth;
    const wide = available >= 620;
    const along = wide ? Math.min(112, (available - boxWidth - 4) / 7) : 70;
    const across = wide ? 62 : Math.min(110, (available - boxWidth - 4) / 3);
    const place = ([flow, side]) => [flow * along, (side + 1) * across];
    const toXY = ([flow, side]) => (wide ? [flow + 2 + boxWidth / 2, side + 2 + boxHeight / 2] : [side + 2 + boxWidth / 2, flow + 2 + boxHeight / 2]);
    const [halfFlow, halfSide] = wide ? [boxWidth / 2, boxHeight / 2] : [boxHeight / 2, boxWidth / 2];
    const [width, height] = wide
      ? [7 * along + boxWidth + 4, 3 * across + boxHeight + 4]
      : [3 * across + boxWidth + 4, 7 * along + boxHeight + 4];
    const parts = [];

    // A wire leaves a box on the side where the flow leaves and enters where it enters; along one stage it goes straight across.
    const wire = (from, to) => {
      const [[f0, s0], [f1, s1]] = [place(NODES[from].at), place(NODES[to].at)];
      if (from === "sigma" && to === "kl") {
        const [a, b] = [[f0 + halfFlow, s0], [f1 + 0.6 * halfFlow, s1 - halfSide]];
        const bend = f0 + halfFlow + 0.5 * (along - 2 * halfFlow);
        return [a, [bend, s0], [bend, s1 - halfSide - 0.2 * across], b];
      }
      if (f0 === f1) return [[f0, s0 + halfSide], [f1, s1 - halfSide]];
      return [[f0 + halfFlow, s0], [f1 - halfFlow, s1]];
    };
    const activeLast = Object.entries(WIRES).sort(([first], [second]) => wires.includes(first) - wires.includes(second));
    for (const [group, { pairs, from, back: returned, exact }] of activeLast) {
      if (exact !== undefined && exact !== family.exact) continue;
      const active = wires.includes(group);
      const kind = active ? direction : step > 10 && step >= returned ? "back" : step >= from ? "known" : "";
      for (const [first, second] of pairs) {
        const points = wire(first, second);
        const path = points.map((point) => toXY(point).map((v) => v.toFixed(1)).join(" "));
        parts.push(`<path class="tvae-${kind}" d="M${path[0]}${path.length === 4 ? `C${path.slice(1).join(" ")}` : `L${path[1]}`}"/>`);
        if (active && !entries) {
          const [tip, before] = (direction === "forward" ? points.slice(-2).reverse() : points.slice(0, 2)).map(toXY);
          const angle = (Math.atan2(tip[1] - before[1], tip[0] - before[0]) * 180) / Math.PI;
          const at = `translate(${tip.map((v) => v.toFixed(1)).join(" ")}) rotate(${angle.toFixed(1)})`;
          parts.push(`<path class="tvae-tip tvae-${direction}" transform="${at}" d="M0 0L-8 -4V4Z"/>`);
        }
      }
    }
    const described = [];
    for (const [key, { name: label, at, from, back: derivatives = [] }] of Object.entries(NODES)) {
      const [cx, cy] = toXY(place(at));
      const known = step >= from;
      const derivative = derivatives.filter(([first]) => step >= first).pop()?.[1];
      const kind = nodes.includes(key) ? direction : sources.includes(key) ? "from" : known ? "known" : "";
      const line = (offset, type, text, attribute = "") => parts.push(`<text x="${cx.toFixed(1)}" y="${(cy + offset).toFixed(1)}" text-anchor="middle" class="${type}"${attribute}>${text}</text>`);
      parts.push(`<rect class="tvae-${kind}" x="${(cx - boxWidth / 2).toFixed(1)}" y="${(cy - boxHeight / 2).toFixed(1)}" width="${boxWidth}" height="${boxHeight}" rx="7"/>`);
      line(known ? -12 : 4, "tvae-name", label);
      if (known) line(4, "tvae-number", digits(key), ` data-key="${key}"`);
      if (derivative) line(19, "tvae-gradient", `d <tspan data-key="${derivative}">${digits(derivative)}</tspan>`);
      if (nodes.includes(key) && known) described.push(`${label} = ${digits(key)}${derivative ? `, derivative ${digits(derivative)}` : ""}`);
    }
    const [w, h] = [width.toFixed(0), height.toFixed(0)];
    picture.innerHTML = `<svg role="img" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}">${parts.join("")}</svg>`;
    picture.firstChild.setAttribute(
      "aria-label",
      `Network from the image x over e1, mu, logvar and z to d1, logits, probabilities pi and the loss. Highlighted: ${described.join("; ")}.`,
    );
  }

  let measured = 0;
  function draw(announce = false) {
    if (measured !== root.clientWidth) reserve();
    measured = root.clientWidth;
    write(step);
    drawNetwork();
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step} of ${LAST}: ${steps[step].title}`);
    back.setAttribute("aria-disabled", step === 0);
    over.setAttribute("aria-disabled", step === 0);
    next.setAttribute("aria-disabled", step === LAST);
    if (announce) say(spoken());
  }
  return draw;
});
