// The playground: fill in the missing pixels of a digit, by several methods with one model or by one method with both, pass by pass.

const METHODS = [["single", "one pass"], ["gibbs", "feeding back"], ["code", "most probable code"]];
const METHOD_COLOURS = { single: "#E69F00", gibbs: "#009E73", code: "#CC79A7", linear: "#595959" };
const METHOD_NOTES = {
  single: "One pass: the image is encoded once, with zeros for what is missing; every pass decodes another draw of its code. The result is the average of all passes so far.",
  gibbs: "Feeding back: every pass encodes the image, decodes one draw, and puts the decoded values in place of the missing pixels. The result is the average of the second half of the passes so far.",
  code: "Most probable code: five passes of feeding back, then every pass moves the code along the gradient of log p(observed pixels | z) p(z). The result is the last decoding, so there is no spread.",
  linear: "Conditional mean: no network. A Gaussian is fitted to all pixels of 20,000 training digits; the result is its mean given the pixels that are left. One step of linear algebra, so there are no passes and no spread.",
};
const PRESETS = [
  ["lower half of a 9", "view=methods&digit=99&mask=half"],
  ["50 squares", "view=methods&digit=15&mask=squares"],
  ["both priors on 50 squares", "view=priors&method=code&digit=15&mask=squares"],
];
const WHITE_SPREAD = 0.3; // the standard deviation that is drawn white
const MAX_SEED = 9999;

// Bits or half-bytes as text for an address, and back; null where the text is no such thing.
function toAddress(numbers, max) {
  const per = max === 1 ? 8 : 2;
  const bytes = new Uint8Array(numbers.length / per);
  numbers.forEach((number, i) => (bytes[Math.floor(i / per)] |= number << ((8 / per) * (i % per))));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function fromAddress(text, max) {
  const per = max === 1 ? 8 : 2;
  if (!/^[\w-]+$/.test(text) || text.length !== Math.ceil(((PIXELS / per) * 4) / 3)) return null;
  const bytes = fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from({ length: PIXELS }, (_, i) => (bytes[Math.floor(i / per)] >> ((8 / per) * (i % per))) & max);
}

start("playground", (root) => {
  const models = shippedModels();
  const digits = shipped("digits");
  const images = shippedImages(digits);
  const pool = shipped("pool");
  const poolImages = unpackImages(pool);
  const state = {};
  let results = []; // one per entry: { decodings, errors }
  let gaussian = null; // for the conditional mean, made when it is first needed

  // What is compared: each with a name, a title, a colour, and what fills in.
  function entries() {
    if (state.view === "priors") {
      return models.map((model) => ({ name: model.name, title: TITLES[model.name], colour: COLOURS[model.name], method: state.method, model }));
    }
    const model = models.find(({ name }) => name === state.prior);
    const networks = METHODS.map(([method, title]) => ({ name: method, title, colour: METHOD_COLOURS[method], method, model }));
    return [...networks, { name: "linear", title: "conditional mean", colour: METHOD_COLOURS.linear, method: "linear" }];
  }

  // The state: which digit, which mask, which method, which seed.

  function maskOf(kind, seed = state.seed) {
    const { uniform } = generator(seed);
    if (kind === "random") return randomPixels(uniform, 0.3);
    if (kind === "squares") return randomSquares(uniform, 50, 4);
    if (kind === "half") return new Uint8Array(PIXELS).fill(1, PIXELS / 2);
    return new Uint8Array(PIXELS);
  }

  function setMask(kind) {
    state.mask = kind;
    state.missing = maskOf(kind);
  }

  function setDigit(row) {
    state.row = row;
    state.image = row === null ? new Float32Array(PIXELS) : images[digits.rows.indexOf(row)].slice();
  }

  function readAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const row = Number(asked.get("digit"));
    const drawn = fromAddress(asked.get("pixels") ?? "", 15);
    const seed = Number(asked.get("seed"));
    state.seed = Number.isInteger(seed) && seed >= 0 && seed <= MAX_SEED ? seed : 0;
    state.method = METHODS.some(([name]) => name === asked.get("method")) ? asked.get("method") : "gibbs";
    state.prior = asked.get("prior") === "t" ? "t" : "gaussian";
    const view = asked.get("view") ?? (asked.has("method") ? "priors" : ""); // addresses used to compare priors only
    state.view = view === "priors" ? "priors" : "methods";
    setDigit(asked.has("digit") && digits.rows.includes(row) ? row : Number(root.dataset.row));
    if (drawn) [state.row, state.image] = [null, Float32Array.from(drawn, (value) => value / 15)];
    setMask(["random", "squares", "half", "none"].includes(asked.get("mask")) ? asked.get("mask") : "squares");
    const own = fromAddress(asked.get("mask") ?? "", 1);
    if (own) [state.mask, state.missing] = ["own", own];
    return ["digit", "pixels", "mask", "method", "seed", "view", "prior"].some((key) => asked.has(key));
  }

  function address() {
    const own = state.mask === "own" ? toAddress(state.missing, 1) : state.mask;
    const digit = state.row === null ? ["pixels", toAddress(Array.from(state.image, (v) => Math.round(15 * v)), 15)] : ["digit", state.row];
    const what = state.view === "priors" ? ["method", state.method] : ["prior", state.prior];
    return "#" + new URLSearchParams([["view", state.view], what, digit, ["mask", own], ["seed", state.seed]]);
  }

  // The models.

  // Noise for every pass. Both models have the same normal draws; for t each is divided by its own root of V / df.
  function noise(df, seed) {
    const next = standardDraws(seed, df);
    return Array.from({ length: DRAWS }, () => Array.from({ length: 10 }, next));
  }

  // What every pass of an entry decodes to.
  function* fillIn({ method, model }, image, missing, seed) {
    if (method !== "linear") return yield* passes(model, method, image, missing, noise(model.df, seed));
    gaussian ??= yield* unpackGaussian(shipped("gaussian-pixels"));
    return new Array(DRAWS).fill(yield* conditionalMean(gaussian, image, missing));
  }

  const resultOf = ({ method }, decodings, count) => (method === "linear" ? { mean: decodings[0], spread: new Float32Array(PIXELS) } : summary(method, decodings, count));

  function* compute() {
    const [found, { image, missing, seed }] = [[], state];
    for (const entry of entries()) {
      const decodings = yield* fillIn(entry, image, missing, seed);
      const errors = [];
      for (let count = 1; count <= DRAWS; count += 1) {
        errors.push(errorOfImage(image, resultOf(entry, decodings, count).mean, missing));
        yield;
      }
      found.push({ entry, decodings, errors });
    }
    results = found;
  }

  const slices = slicer(root, (done) => done && pass.set(DRAWS));
  function recompute() {
    stop();
    paintEditor();
    slices.start(compute());
  }

  // The tally: other digits, other masks of the same kind, the same comparison.

  const tally = { count: 0, sums: [], closest: [] };
  const tallying = slicer(root, () => drawTally(), 200);

  function resetTally() {
    Object.assign(tally, { count: 0, goal: 0, sums: entries().map(() => 0), closest: entries().map(() => 0) });
    drawTally();
  }

  function* tallyMore() {
    const compared = entries();
    while (tally.count < tally.goal) {
      const seed = 20_000 + tally.count;
      const image = poolImages.subarray((tally.count % pool.count) * PIXELS, ((tally.count % pool.count) + 1) * PIXELS);
      const missing = ["own", "none"].includes(state.mask) ? state.missing.slice() : maskOf(state.mask, seed);
      const errors = [];
      for (const entry of compared) {
        const decodings = yield* fillIn(entry, image, missing, seed);
        errors.push(errorOfImage(image, resultOf(entry, decodings, DRAWS).mean, missing));
      }
      errors.forEach((error, i) => (tally.sums[i] += error));
      tally.closest[errors.indexOf(Math.min(...errors))] += 1;
      tally.count += 1;
      yield;
    }
  }

  const tallied = (i) => `average ${number(tally.sums[i] / tally.count)}, closest ${tally.closest[i]} times`;

  function drawTally() {
    const text = `${tally.count} other test digits, each with ${state.mask === "own" ? "this mask" : "a mask of its own"}`;
    tallyNote.textContent = tally.count ? `${text}: see the boxes.` : "digits and masks, to see whether it is always so";
    if (tally.count && tally.count === tally.goal) say(`${text}. ${entries().map(({ title }, i) => `${title}: ${tallied(i)}`).join("; ")}.`);
    if (results.length) drawBoxes();
  }

  root.__playground = {
    run({ model, method = "single", image, missing, eps }) {
      const net = models.find(({ name }) => name === model);
      const decodings = finish(passes(net, method, Float32Array.from(image), missing, eps));
      return Array.from(summary(method, decodings, decodings.length).mean);
    },
    conditionalMean({ image, missing }) {
      gaussian ??= finish(unpackGaussian(shipped("gaussian-pixels")));
      return Array.from(finish(conditionalMean(gaussian, Float32Array.from(image), missing)));
    },
    busy: () => slices.busy() || tallying.busy(),
    tally: () => tally,
    tallyFor,
    // Milliseconds that one pass, an encoding and a decoding, takes on average.
    time(count = 100) {
      const eps = Array.from({ length: count }, () => new Array(10).fill(0));
      const began = performance.now();
      finish(passes(models[0], "gibbs", images[0], maskOf("random"), eps));
      return (performance.now() - began) / count;
    },
    address,
  };

  // The editor.

  const editor = picture("What the models see (red: missing)");
  const cursor = element("div", { class: "tvae-cursor", "aria-hidden": "true" });
  const here = { row: 14, column: 14 };
  let [tool, size] = ["erase", 3];
  const spot = element("div", { class: "tvae-spoken", "aria-live": "polite" });
  const saySpot = announcer(spot);
  editor.node.append(element("div", { class: "tvae-stage" }, editor.canvas, cursor));
  editor.node.classList.add("tvae-editor");
  for (const [name, value] of Object.entries({
    tabindex: 0,
    role: "application",
    "aria-roledescription": "picture to work on",
    "data-lm-suppress-shortcuts": "true",
  })) {
    editor.canvas.setAttribute(name, value);
  }

  // Apply the tool around (x, y), in pixels. Erasing takes whole pixels in a square; ink has a soft edge, as in MNIST.
  function touch(x, y) {
    const reach = (size - 1) / 2;
    for (let row = 0; row < SIDE; row += 1) {
      for (let column = 0; column < SIDE; column += 1) {
        const [dx, dy] = [Math.abs(column + 0.5 - x), Math.abs(row + 0.5 - y)];
        const i = row * SIDE + column;
        if (tool === "erase" || tool === "restore") {
          if (Math.max(dx, dy) > reach + 0.5) continue;
          state.missing[i] = tool === "erase" ? 1 : 0;
          state.mask = "own";
        } else {
          const ink = Math.min(1, Math.max(0, reach + 1 - Math.hypot(dx, dy)));
          if (ink === 0) continue;
          state.image[i] = tool === "ink" ? Math.max(state.image[i], ink) : Math.min(state.image[i], 1 - ink);
          if (state.row !== null) thumbnails.set("own");
          state.row = null;
        }
      }
    }
  }

  let last = null;
  const position = (event) => {
    const box = editor.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  };
  editor.canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    editor.canvas.setPointerCapture(event.pointerId);
    last = position(event);
    touch(...last);
    recompute();
  });
  editor.canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = position(event);
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(next[0] - last[0], next[1] - last[1])));
    for (let i = 1; i <= steps; i += 1) touch(...[0, 1].map((axis) => last[axis] + ((next[axis] - last[axis]) * i) / steps));
    last = next;
    recompute(); // begins anew, so the models wait until the finger rests
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    editor.canvas.addEventListener(kind, () => (last = null));
  }

  function showCursor() {
    cursor.style.left = `${(100 * here.column) / SIDE}%`;
    cursor.style.top = `${(100 * here.row) / SIDE}%`;
    const i = here.row * SIDE + here.column;
    const pixel = state.missing[i] ? "missing" : `ink ${Math.round(100 * state.image[i])} per cent`;
    saySpot(`row ${here.row + 1}, column ${here.column + 1}: ${pixel}`);
  }
  editor.canvas.addEventListener("focus", showCursor);
  editor.canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], " ": [0, 0], Enter: [0, 0] };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const within = (value) => Math.min(SIDE - 1, Math.max(0, value));
    [here.row, here.column] = [within(here.row + move[0]), within(here.column + move[1])];
    if (event.key === " " || event.key === "Enter" || event.shiftKey) {
      touch(here.column + 0.5, here.row + 0.5);
      recompute();
    }
    showCursor();
  });

  // The controls.

  const thumbnails = choices({
    legend: "Digit",
    className: "tvae-thumbnails",
    options: [
      ...digits.rows.map((row, i) => {
        const thumbnail = picture("");
        thumbnail.paint(images[i], `${digits.labels[i]}, test image ${row}`);
        return [row, thumbnail.canvas];
      }),
      ["own", element("span", { class: "tvae-own" }, "draw one")],
    ],
    onChange: (value) => {
      setDigit(value === "own" ? null : value);
      if (value === "own") {
        setMask("none");
        tools.set((tool = "ink"));
      } else if (state.mask === "none") {
        setMask("squares");
        tools.set((tool = "erase"));
      }
      recompute();
    },
  });
  const toolNames = [["erase", "erase"], ["restore", "bring back"], ["ink", "draw ink"], ["clean", "remove ink"]];
  const tools = choices({ legend: "Finger, mouse or space key", options: toolNames, start: tool, onChange: (value) => (tool = value) });
  const sizes = choices({ legend: "Brush, pixels", options: [1, 3, 5].map((n) => [n, n]), start: size, onChange: (value) => (size = value) });
  const methods = choices({
    legend: "Method",
    options: METHODS,
    onChange: (value) => {
      state.method = value;
      arrange();
    },
  });
  const views = choices({
    legend: "Compare",
    options: [["methods", "methods, with one prior"], ["priors", "priors, with one method"]],
    onChange: (view) => {
      state.view = view;
      arrange();
    },
  });
  const priors = choices({
    legend: "Prior",
    options: models.map(({ name }) => [name, TITLES[name]]),
    onChange: (prior) => {
      state.prior = prior;
      arrange();
    },
  });
  const masks = [["random", "30 % at random"], ["squares", "50 squares"], ["half", "lower half"], ["none", "nothing"], ["own", "by hand"]];
  const maskChoice = choices({
    legend: "Missing",
    options: masks,
    onChange: (kind) => {
      if (kind === "own") state.mask = kind; // what is missing stays, and a new seed will not change it
      else setMask(kind);
      resetTally();
      recompute();
    },
  });
  const seedId = uniqueId("tvae");
  const seedBox = element("input", { type: "number", id: seedId, min: 0, max: MAX_SEED, step: 1, inputmode: "numeric" });
  function setSeed(seed) {
    state.seed = seed;
    seedBox.value = seed;
    if (state.mask !== "own") setMask(state.mask);
    recompute();
  }
  seedBox.addEventListener("change", () => {
    const seed = Math.round(Number(seedBox.value));
    setSeed(seed >= 0 && seed <= MAX_SEED ? seed : state.seed);
  });
  const another = pushButton("Another", () => setSeed((state.seed + 1) % (MAX_SEED + 1)));
  another.setAttribute("aria-label", "Another seed");
  const seeds = element("div", { class: "tvae-seed" }, element("label", { for: seedId }, "Seed of mask and noise"), seedBox, another);

  const pass = control({
    label: "passes",
    symbol: "pass",
    values: Array.from({ length: DRAWS }, (_, i) => i + 1),
    start: DRAWS,
    onChange: (value) => {
      shown = Math.round(value);
      draw();
    },
  });
  let shown = DRAWS;
  let timer = null;
  function stop() {
    clearInterval(timer);
    timer = null;
    playButton.textContent = "Play";
  }
  const playButton = pushButton("Play", () => {
    if (timer) return stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return pass.set(DRAWS); // no animation: the last pass at once
    if (shown === DRAWS) pass.set(1);
    playButton.textContent = "Pause";
    timer = setInterval(() => {
      if (!root.isConnected || shown >= DRAWS) stop();
      else pass.set(shown + 1);
    }, 300);
  });
  const step = (change) => () => {
    stop();
    pass.set(change);
  };
  const firstButton = pushButton("First pass", step(1));
  const nextButton = pushButton("Next pass", () => step(Math.min(DRAWS, shown + 1))());
  const linkNote = element("span", { class: "tvae-note", role: "status" });
  const link = pushButton("Link to this state", () => {
    history.replaceState(history.state, "", address());
    linkNote.textContent = "The address of this page now holds digit, mask, method and seed.";
  });
  const wholeBox = element("input", { type: "checkbox" });
  wholeBox.addEventListener("change", () => draw());
  const whole = element("label", { class: "tvae-check" }, wholeBox, "show what the models say about all pixels, not only the missing ones");

  // The pictures.

  const columns = [["last", "this pass"], ["result", "result"], ["error", "its error"], ["spread", "its spread"]];
  const rowsNode = element("div", {});
  let rows = [];
  function arrange() {
    rows = entries().map(({ title, colour }) => {
      const pictures = Object.fromEntries(columns.map(([key, caption]) => [key, picture(caption)]));
      const head = element("div", { class: "tvae-title tvae-model", style: `border-color:${colour}` }, title);
      return { pictures, node: element("div", { class: "tvae-row" }, head, ...columns.map(([key]) => pictures[key].node)) };
    });
    rowsNode.replaceChildren(...rows.map(({ node }) => node));
    [priors.node.hidden, methods.node.hidden] = [state.view === "priors", state.view !== "priors"];
    results = [];
    resetTally();
    recompute();
  }
  const tallyNote = element("p", { class: "tvae-note" });
  function tallyFor(more) {
    tally.goal = tally.count + more;
    tallying.start(tallyMore());
  }
  const moreButton = pushButton("100 more", () => tallyFor(100));
  moreButton.setAttribute("aria-label", "100 more digits and masks");
  const presets = PRESETS.map(([text, where]) => element("a", { href: `#${where}` }, text));
  const holder = element("div", { class: "tvae-chart" });
  const values = element("div", { class: "tvae-values" });
  const sentence = element("p", { class: "tvae-sentence" });
  const method = element("p", { class: "tvae-note" });
  const { live, say } = voice(root, "Playground");
  root.append(
    element("p", { class: "tvae-note tvae-links" }, "To begin with: ", ...presets.flatMap((node, i) => (i ? [" · ", node] : [node]))),
    thumbnails.node,
    element(
      "div",
      { class: "tvae-work" },
      editor.node,
      element("div", { class: "tvae-side" }, maskChoice.node, tools.node, sizes.node, views.node, priors.node, methods.node, seeds, element("div", {}, link, " ", linkNote)),
    ),
    element(
      "div",
      { class: "tvae-controls" },
      pass.node,
      element("div", { class: "tvae-buttons" }, firstButton, nextButton, playButton),
    ),
    sentence,
    values,
    element("div", { class: "tvae-buttons tvae-tally" }, moreButton, tallyNote),
    rowsNode,
    whole,
    element("div", { class: "tvae-title tvae-chart-title" }, "Error of the result, pass by pass"),
    holder,
    method,
    element(
      "p",
      { class: "tvae-note" },
      "Errors are mean squared errors over all pixels of the image, in thousandths. " +
        `White is 1 in the pictures and errors, and ${WHITE_SPREAD} and above in the spread, the standard deviation over the passes that are averaged. ` +
        "By keyboard: tab to the picture, move with the arrow keys, press space to apply the tool, hold shift to apply it while moving.",
    ),
    live,
    spot,
  );

  function paintEditor() {
    maskChoice.set(state.mask);
    const count = state.missing.reduce((sum, bit) => sum + bit, 0);
    const what = state.row === null ? "A drawn digit" : `Test image ${state.row}`;
    editor.paint(state.image, `${what}, ${count} of ${PIXELS} pixels missing. Arrow keys move, space applies the tool.`, 1, state.missing);
    return count;
  }

  const number = (error) => error.toFixed(1);

  function drawBoxes() {
    const any = state.missing.includes(1);
    const boxes = results.map(({ entry, errors }, i) => [entry, errors[shown - 1], tally.count ? `over ${tally.count} digits: ${tallied(i)}` : ""]);
    boxes.push([{ name: "black", title: "left black", colour: COLOURS.grey }, errorOfImage(state.image, new Float32Array(PIXELS), state.missing), ""]);
    values.innerHTML = valueBoxes(
      boxes.map(([{ name, title, colour }, error, more]) => [
        colour,
        `${title} <span><b data-value="${name}">${any ? number(error) : "\u2013"}</b> <small>thousandths</small></span><div><small>${more}</small></div>`,
      ]),
    );
  }

  function draw() {
    if (!results.length) return;
    const count = paintEditor();
    const { image, missing } = state;
    rows.forEach(({ pictures }, i) => {
      const { entry, decodings, errors } = results[i];
      const { mean, spread } = resultOf(entry, decodings, shown);
      const fill = (inside, observed) => (wholeBox.checked ? inside : inside.map((value, j) => (missing[j] ? value : observed[j])));
      const result = fill(mean, image);
      const { title } = entry;
      const about = count ? `mean squared error ${number(errors[shown - 1])} thousandths` : "nothing is missing";
      pictures.last.paint(fill(decodings[shown - 1], image), `${title}, pass ${shown} alone`);
      pictures.result.paint(result, `${title}, result after ${shown} passes: ${about}`);
      pictures.error.paint(result.map((value, j) => Math.abs(value - image[j])), `${title}, absolute error of the result; ${about}`);
      const shownSpread = fill(spread, new Float32Array(PIXELS));
      const most = Math.max(...shownSpread).toFixed(2);
      pictures.spread.paint(shownSpread, `${title}, standard deviation over the averaged passes, at most ${most}`, WHITE_SPREAD);
    });

    root.classList.toggle("tvae-complete", count === 0);
    const errors = results.map((result) => result.errors[shown - 1]);
    drawBoxes();
    sentence.textContent = count ? `Pass ${shown} of ${DRAWS}, ${count} pixels missing` : "Nothing is missing: erase something.";
    method.textContent = [...new Set(results.map(({ entry }) => METHOD_NOTES[entry.method]))].join(" ");
    say(count ? `${sentence.textContent}. ${results.map(({ entry }, i) => `${entry.title} ${number(errors[i])}`).join(", ")}.` : sentence.textContent);
    moreButton.disabled = !count;

    if (!count) holder.replaceChildren();
    else {
      const most = Math.max(...results.flatMap((result) => result.errors));
      const tick = niceStep(most, 4);
      const ends = results.map((result) => `${result.entry.title} ${number(result.errors[0])} and ${number(result.errors[DRAWS - 1])}`);
      drawChart(holder, {
        width: Math.max(200, root.querySelector(".tvae-values").clientWidth),
        height: 200,
        x: [1, DRAWS],
        y: [0, Math.max(Math.ceil((most / tick) * 1.6) * tick, 1e-3)], // with room for the legend
        xLabel: "passes",
        curves: results.map(({ entry, errors: series }) => ({ points: series.map((error, j) => [j + 1, error]), colour: entry.colour, width: 2, dash: entry.method === "linear" ? "5 4" : "" })),
        marks: results.map(({ entry }, i) => ({ points: [[shown, errors[i]]], colour: entry.colour, size: 5 })),
        legend: results.map(({ entry }) => ({ text: entry.title, colour: entry.colour, dash: entry.method === "linear" ? "5 4" : "" })),
        legendRight: true,
        label: `Error against passes, after pass 1 and pass ${DRAWS}: ${ends.join("; ")}.`,
      });
    }
  }

  function show() {
    thumbnails.set(state.row ?? "own");
    methods.set(state.method);
    seedBox.value = state.seed;
    views.set(state.view);
    priors.set(state.prior);
    arrange();
  }
  readAddress();
  show();
  window.addEventListener("hashchange", () => readAddress() && show());
  return draw;
});
