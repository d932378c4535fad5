// Training in the page, chapter 01: one or two small VAEs learn 3,000 digits, and the plane of their codes is seen to unfold.

const CLASS_COLOURS = ["#332288", "#CC6677", "#117733", "#AA4499", "#88CCEE", "#882255", "#44AA99", "#222222", "#999933", "#DDCC77"];
const CELLS = 12; // digits along one side of the decoder's grid
const REACHES = [3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 4096, 16384];
const MOST_STEPS = 6000;
const LIMITS = { df: [1, 50], weight: [0, 20], rate: [0.0001, 0.05], seed: [0, 9999], steps: [0, MOST_STEPS] };
const TRAININGS = [
  {
    name: "a Gaussian VAE",
    state: { models: [{ df: Infinity, weight: 1 }] },
    text: "Both terms count: the codes crowd round the centre, and near every code stands another digit.",
  },
  {
    name: "no KL",
    state: { models: [{ df: Infinity, weight: 0 }] },
    text: "A plain autoencoder: nothing pulls the codes to the centre or keeps σ from shrinking. Watch the numbers on the axes, and what the decoder shows between the clusters.",
  },
  {
    name: "collapse",
    state: { models: [{ df: Infinity, weight: 5 }] },
    text: "The KL counts five times. Is a coordinate still worth its price? One that is not dies: its KL falls to 0, and the codes shrink to a line or a point.",
  },
  {
    name: "ν = 2: the runaways",
    state: { models: [{ df: 2, weight: 1 }] },
    text: "A very heavy tail: what pulls a far code back? Watch the axes, and in the numbers below how far the farthest code has got.",
  },
  {
    name: "Gaussian beside t",
    state: { models: [{ df: Infinity, weight: 1 }, { df: 5, weight: 1 }] },
    text: "The same first weights, the same digits in the same order, the same normal draws: what does the tail change?",
  },
  {
    name: "whose tail?",
    state: { models: [{ df: 3, weight: 1 }, { df: 3, weight: 1, apart: true }] },
    text: "For chapter 11. Both priors are t with ν = 3; the second model has the Gaussian's encoder. Which loss is lower after twenty epochs, and is it so with another seed?",
  },
];
// What a model's name in an address says: gaussian, t5, or gaussian_t5 for a Gaussian encoder under a t prior.
const nameOf = ({ df, apart }) => (df === Infinity ? "gaussian" : `${apart ? "gaussian_" : ""}t${df}`);
const kindOf = ({ df, apart }) => (df === Infinity ? "gaussian" : apart ? "apart" : "t");

start("training", (root) => {
  const data = shipped("training");
  const all = unpackImages(data);
  const [width, hidden, d] = [data.side * data.side, 128, 2];
  const images = all.subarray(0, data.labels.length * width);
  const shown = all.subarray(images.length); // ten digits that nobody trains on
  const rowsOfClass = Array.from({ length: 10 }, (_, digit) => [...data.labels].flatMap((label, row) => (Number(label) === digit ? [row] : [])));
  const state = {};
  const here = { x: 0, y: 0 };
  let [run, goal, reach, views, changed] = [null, 0, 3, [], false];

  // The state of the figure, and its address.

  function setState(wanted) {
    const { models, rate = 0.004, seed = 0, exact = true, steps = 0 } = wanted;
    Object.assign(state, { models: models.map((model) => ({ ...model })), rate, seed, exact });
    showControls();
    begin(steps);
  }

  function address() {
    const entries = state.models.flatMap((model, i) => [[`model${i || ""}`, nameOf(model)], [`weight${i || ""}`, model.weight]]);
    const steps = changed ? 0 : run.steps;
    return "#" + new URLSearchParams([...entries, ["kl", state.exact ? "exact" : "draw"], ["rate", state.rate], ["seed", state.seed], ["steps", steps]]);
  }

  function readAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const number = (name, value, otherwise) => {
      const [low, high] = LIMITS[name];
      return value !== null && value !== "" && Number(value) >= low && Number(value) <= high ? Number(value) : otherwise;
    };
    const models = ["", "1"].flatMap((i) => {
      const [name, apart, digits] = /^(?:gaussian|(gaussian_)?t([\d.]+))$/.exec(asked.get(`model${i}`)) ?? [];
      const df = name === "gaussian" ? Infinity : number("df", digits ?? null, null);
      return df === null ? [] : [{ df, apart: Boolean(apart), weight: number("weight", asked.get(`weight${i}`), 1) }];
    });
    if (!models.length) return false;
    const [seed, steps] = ["seed", "steps"].map((name) => Math.round(number(name, asked.get(name), 0)));
    setState({ models, rate: number("rate", asked.get("rate"), 0.004), seed, exact: asked.get("kl") !== "draw", steps });
    return true;
  }

  // Training.

  function begin(steps = 0) {
    run = newRun(images, [width, hidden, d], state.models.map(familyOf), state.seed);
    [goal, changed] = [steps, false];
    buildViews();
    slices.start(work());
  }

  function familyOf({ df, apart, weight }) {
    return { df, encoderDf: apart ? Infinity : df, weight, exact: state.exact };
  }

  function* work() {
    while (run.steps < goal && !run.diverged) {
      const before = epochs();
      yield* trainStep(run, state.rate);
      if (epochs() > before && epochs() % 5 === 0) say(summaryText());
    }
    yield* encodeAll(run);
  }

  const epochs = () => Math.floor(run.steps / stepsPerEpoch(run));
  const training = () => slices.busy() && run.steps < goal;

  function trainUntil(steps) {
    if (run.diverged) begin();
    goal = steps;
    slices.start(work());
    showButtons();
  }

  // A family or weight that changes while a model learns takes effect with its next step.
  function changeFamilies() {
    state.models.forEach((model, i) => Object.assign(run.models[i].family, familyOf(model)));
    changed ||= run.steps > 0;
    showControls();
    redraw();
  }

  const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const slices = slicer(root, (done) => {
    draw();
    if (!done) return;
    showButtons();
    if (run.steps) say(summaryText());
  }, reduced ? 1000 : 80);

  // Controls.

  const presetNote = element("p", { class: "tvae-note" });
  const presets = TRAININGS.map(({ name, state: wanted, text }) =>
    pushButton(name, () => {
      setState(wanted);
      presetNote.textContent = text;
    }),
  );
  const runButton = pushButton("Run", () => (training() ? trainUntil(run.steps + 1) : trainUntil(MOST_STEPS)));
  const stepButton = pushButton("One step", () => trainUntil(run.steps + 1));
  const againButton = pushButton("Start again", () => begin());
  const linkNote = element("span", { class: "tvae-note", role: "status" });
  const link = pushButton("Link to this state", () => {
    history.replaceState(history.state, "", address());
    linkNote.textContent = changed
      ? "Settings were changed while it learned: the address holds the present ones, to be trained from the start."
      : "The address of this page now holds the settings and the number of steps.";
  });
  const weights = [0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20];
  const modelControls = ["First model", "Second model"].map((name, i) => {
    const model = () => state.models[i];
    const family = choices({
      legend: name,
      options: [...(i ? [["none", "none"]] : []), ["gaussian", "Gaussian"], ["t", "t"], ["apart", "t prior, Gaussian encoder"]],
      onChange: (value) => {
        const fresh = i && (value === "none" || !model());
        if (fresh) state.models.splice(1, 1, ...(value === "none" ? [] : [{ weight: 1 }]));
        if (model()) {
          const before = model().df ?? Infinity;
          Object.assign(model(), { df: value === "gaussian" ? Infinity : before === Infinity ? 5 : before, apart: value === "apart" });
        }
        if (!fresh) return changeFamilies();
        showControls();
        begin();
      },
    });
    const on = (key) => (value) => {
      if (model()) model()[key] = value;
      if (model()) changeFamilies();
    };
    const df = control({ label: "degrees of freedom ν", symbol: "nu", values: ladder(1, 50), start: 5, ends: ["1: Cauchy", "50"], onChange: on("df") });
    const weight = control({ label: "weight of the KL", symbol: "weight", values: weights, start: 1, onChange: on("weight") });
    const node = element("div", { class: "tvae-settings" }, family.node, df.node, weight.node);
    const show = () => {
      family.set(model() ? kindOf(model()) : "none");
      df.node.hidden = !model() || model().df === Infinity;
      weight.node.hidden = !model();
      if (!df.node.hidden) df.show(model().df);
      if (model()) weight.show(model().weight);
    };
    return { node, show };
  });
  const rate = control({ label: "learning rate", symbol: "rate", values: ladder(...LIMITS.rate), start: 0.004, onChange: (value) => {
    state.rate = value;
    changed ||= run.steps > 0;
  } });
  const kl = choices({ legend: "KL", options: [["exact", "exact"], ["draw", "from one draw"]], onChange: (value) => {
    state.exact = value === "exact";
    changeFamilies();
  } });
  const seedBox = element("input", { type: "number", id: uniqueId("tvae"), min: 0, max: LIMITS.seed[1], step: 1, inputmode: "numeric" });
  seedBox.addEventListener("change", () => {
    const seed = Math.round(Number(seedBox.value));
    if (seed >= 0 && seed <= LIMITS.seed[1]) state.seed = seed;
    seedBox.value = state.seed;
    begin();
  });
  const ellipses = element("input", { type: "checkbox" });
  ellipses.addEventListener("change", () => redraw());
  const ellipseLabel = element("label", { class: "tvae-check" }, ellipses, "show σ of each code as an ellipse");

  function showControls() {
    modelControls.forEach(({ show }) => show());
    rate.show(state.rate);
    kl.set(state.exact ? "exact" : "draw");
    seedBox.value = state.seed;
    views.forEach(({ title }, i) => (title.textContent = titleOf(i)));
    [presetNote.textContent, linkNote.textContent] = ["", ""];
  }

  function showButtons() {
    runButton.textContent = training() ? "Pause" : "Run";
  }

  function titleOf(i) {
    const { df, apart, weight } = state.models[i];
    const family = df === Infinity ? "Gaussian" : apart ? `t prior, ν = ${df}, Gaussian encoder` : `t, ν = ${df}`;
    return family + (weight === 1 ? "" : `, KL × ${weight}`);
  }
  const colourOf = (i) => COLOURS[{ gaussian: "gaussian", t: "t", apart: "prior" }[kindOf(state.models[i])]];

  // Pictures.

  const holder = element("div", { class: "tvae-models" });
  const charts = ["Reconstruction, nats per digit", "KL, nats per digit"].map(titledPanel);
  const values = element("div", { class: "tvae-values" });
  const spot = element("div", { class: "tvae-spoken", "aria-live": "polite" });
  const saySpot = announcer(spot);

  function buildViews() {
    views = run.models.map((model, i) => {
      const title = element("div", { class: "tvae-title tvae-model" }, titleOf(i));
      const plane = element("canvas", { class: "tvae-plane", tabindex: 0, role: "application", "aria-roledescription": "plane of codes", "data-lm-suppress-shortcuts": "true" });
      const planeNode = element("div", { class: "tvae-picture" }, element("div", { class: "tvae-caption" }, "codes μ of 3,000 digits, a colour for each class"), plane);
      const grid = picture("what the decoder makes of a grid over this plane", CELLS * data.side);
      const strip = picture("ten unseen digits, and their reconstructions", 10 * data.side, 2 * data.side);
      const spotPicture = picture("at the cross", data.side);
      const rest = element("div", { class: "tvae-rest" }, strip.node, spotPicture.node);
      holderOf(plane, () => views[i]);
      return { model, title, plane, grid, strip, spotPicture, node: element("div", { class: "tvae-view" }, title, planeNode, grid.node, rest) };
    });
    holder.classList.toggle("tvae-two", views.length > 1);
    holder.replaceChildren(...views.map(({ node }) => node));
    reach = 3;
  }

  // Pointing at a place in the plane, by mouse, finger or arrow keys; both planes share it.
  function holderOf(plane, view) {
    const moveTo = (x, y) => {
      const within = (value) => Math.min(reach, Math.max(-reach, value));
      [here.x, here.y] = [within(x), within(y)];
      redraw();
      saySpot(`${titleOf(views.indexOf(view()))}: decoded at ${here.x.toFixed(1)}, ${here.y.toFixed(1)}; ${nearestText(view())}`);
    };
    const point = (event) => {
      const box = plane.getBoundingClientRect();
      moveTo(((event.clientX - box.left) / box.width) * 2 * reach - reach, reach - ((event.clientY - box.top) / box.height) * 2 * reach);
    };
    plane.addEventListener("pointerdown", point);
    plane.addEventListener("pointermove", (event) => event.buttons && point(event));
    plane.addEventListener("keydown", (event) => {
      const move = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
      if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      const step = event.shiftKey ? reach / 5 : reach / 30;
      moveTo(here.x + step * move[0], here.y + step * move[1]);
    });
  }

  // Of which classes the ten nearest codes are.
  function nearestText({ model: { codes } }) {
    const distances = Array.from({ length: run.count }, (_, i) => [(codes[2 * i] - here.x) ** 2 + (codes[2 * i + 1] - here.y) ** 2, data.labels[i]]);
    const nearest = distances.sort(([first], [second]) => first - second).slice(0, 10);
    const counts = {};
    for (const [, label] of nearest) counts[label] = (counts[label] ?? 0) + 1;
    const common = Object.entries(counts).sort(([, first], [, second]) => second - first);
    return `of the ten nearest codes, ${common.map(([label, count]) => `${count} of class ${label}`).join(", ")}`;
  }

  // The plane reaches as far as all but one in a hundred of the coordinates, in any of the models.
  function chooseReach() {
    const needed = Math.max(...run.models.map(({ codes }) => codes.map(Math.abs).sort()[Math.floor(0.99 * codes.length)] * 1.05));
    if (needed > reach || needed < 0.6 * reach) reach = REACHES.find((limit) => limit >= needed) ?? REACHES[REACHES.length - 1];
  }

  function drawPlane({ plane, model, title }) {
    const size = plane.clientWidth;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    if (plane.width !== Math.round(size * ratio)) plane.width = plane.height = Math.round(size * ratio);
    const context = plane.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, size, size);
    const px = (v) => ((v + reach) / (2 * reach)) * size;
    const step = niceStep(2 * reach, 6);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    for (let i = Math.ceil(-reach / step + 1e-9); i * step < reach - 1e-9; i += 1) {
      context.fillStyle = i ? "#ececec" : "#bbb";
      context.fillRect(px(i * step), 0, 1, size);
      context.fillRect(0, px(-i * step), size, 1);
      context.fillStyle = "#595959";
      context.fillText(minus(Number((i * step).toPrecision(3))), px(i * step), size - 4);
      if (i) context.fillText(minus(Number((i * step).toPrecision(3))), 14, px(-i * step) + 4);
    }
    const { codes, logvars } = model;
    if (ellipses.checked) {
      context.globalAlpha = 0.12;
      rowsOfClass.forEach((rows, digit) => {
        context.fillStyle = CLASS_COLOURS[digit];
        context.beginPath();
        for (const row of rows) {
          const [x, y] = [px(codes[2 * row]), px(-codes[2 * row + 1])];
          const [rx, ry] = [0, 1].map((j) => Math.min(size, (Math.exp(0.5 * logvars[2 * row + j]) / (2 * reach)) * size));
          context.moveTo(x + rx, y);
          context.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
        }
        context.fill();
      });
      context.globalAlpha = 1;
    }
    const sums = Array.from({ length: 10 }, () => [0, 0, 0]); // where the dots of a class lie on average
    for (let part = 0; part < 10; part += 1) { // ten shuffles of the classes, so that none hides the others
      rowsOfClass.forEach((rows, digit) => {
        context.fillStyle = CLASS_COLOURS[digit];
        for (let i = part; i < rows.length; i += 10) {
          const [x, y] = [px(codes[2 * rows[i]]), px(-codes[2 * rows[i] + 1])];
          const atX = Math.min(size - 2, Math.max(2, x)); // what lies outside shows at the rim
          const atY = Math.min(size - 2, Math.max(2, y));
          context.fillRect(atX - 1.2, atY - 1.2, 2.4, 2.4);
          if (atX === x && atY === y) [x, y, 1].forEach((value, j) => (sums[digit][j] += value));
        }
      });
    }
    context.font = "bold 15px system-ui, sans-serif";
    [context.lineWidth, context.strokeStyle, context.fillStyle] = [4, "#fff", "#222"];
    sums.forEach(([sumX, sumY, count], digit) => {
      if (!count) return;
      context.strokeText(digit, sumX / count, sumY / count + 5);
      context.fillText(digit, sumX / count, sumY / count + 5);
    });
    [context.lineWidth, context.strokeStyle] = [1.5, "#000"];
    context.beginPath();
    const [x, y] = [px(here.x), px(-here.y)];
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 12 * dx, y + 12 * dy);
    }
    context.stroke();
    plane.setAttribute("aria-label", `${title.textContent}: codes of 3,000 digits from -${reach} to ${reach} after ${run.steps} steps. Arrow keys move the cross, whose code is decoded.`);
  }

  // Images side by side in one picture; `place(i)` says in which column and row of it image i stands.
  function tiles(pixels, count, columns, rows, place) {
    const { side } = data;
    const out = new Float32Array(columns * rows * width);
    for (let i = 0; i < count; i += 1) {
      const [column, row] = place(i);
      for (let line = 0; line < side; line += 1) {
        const from = i * width + line * side;
        out.set(pixels.subarray(from, from + side), ((row * side + line) * columns + column) * side);
      }
    }
    return out;
  }

  function drawView(view) {
    const { model, grid, strip, spotPicture, title } = view;
    drawPlane(view);
    const centre = (i) => ((i + 0.5) / CELLS) * 2 * reach - reach;
    const codes = new Float32Array(2 * CELLS * CELLS + 2);
    for (let i = 0; i < CELLS * CELLS; i += 1) codes.set([centre(i % CELLS), -centre(Math.floor(i / CELLS))], 2 * i);
    codes.set([here.x, here.y], 2 * CELLS * CELLS);
    const decoded = decode(model.network, codes, CELLS * CELLS + 1);
    grid.paint(tiles(decoded, CELLS * CELLS, CELLS, CELLS, (i) => [i % CELLS, Math.floor(i / CELLS)]), `${title.textContent}: what the decoder makes of ${CELLS} times ${CELLS} codes from -${reach} to ${reach}`);
    spotPicture.paint(decoded.subarray(CELLS * CELLS * width), `${title.textContent}: the code ${here.x.toFixed(1)}, ${here.y.toFixed(1)} decoded`);
    const encoded = forward(model.network.encoder, shown, 10).pop();
    const mu = Float32Array.from({ length: 20 }, (_, i) => encoded[Math.floor(i / 2) * 4 + (i % 2)]);
    const both = new Float32Array(20 * width);
    both.set(shown);
    both.set(decode(model.network, mu, 10), 10 * width);
    strip.paint(tiles(both, 20, 10, 2, (i) => [i % 10, Math.floor(i / 10)]), `${title.textContent}: the digits 0 to 9, above what becomes of them in the model`);
  }

  const one = (value) => value.toFixed(1);
  const klOf = ({ kl: parts }) => parts.reduce((sum, value) => sum + value, 0);

  function modelText(i) {
    const { history: past, family, codes } = run.models[i];
    const last = past[past.length - 1];
    if (!last) return "";
    const dead = last.kl.filter((value) => value < 0.05).length;
    const farthest = codes.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return (
      `loss ${one(last.reconstruction + family.weight * klOf(last))} nats = ${one(last.reconstruction)} reconstruction + ` +
      `${family.weight === 1 ? "" : `${family.weight} × `}${one(klOf(last))} KL (its coordinates: ${last.kl.map((value) => value.toFixed(2)).join(" and ")}` +
      `${dead ? `; ${dead === 1 ? "one is" : "both are"} dead` : ""}); farthest coordinate of a code ${one(farthest)}`
    );
  }

  function summaryText() {
    if (run.diverged) return "The weights have diverged: a lower learning rate may help. Start again.";
    const done = epochs();
    if (!done) return `${run.steps} of ${stepsPerEpoch(run)} steps of the first epoch.`;
    return `Epoch ${done}. ${run.models.map((_, i) => `${titleOf(i)}: ${modelText(i)}.`).join(" ")}`;
  }

  function drawCharts() {
    const size = panelSize(root.querySelector(".tvae-panels"));
    const last = Math.max(5, epochs());
    [({ reconstruction }) => reconstruction, klOf].forEach((term, which) => {
      const series = run.models.map(({ history: past }) => past.map((entry, i) => [i + 1, term(entry)]));
      const seen = series.flatMap((points) => (points.length > 3 ? points.slice(1) : points)).map(([, value]) => value); // the first is far above the rest
      const [low, high] = seen.length ? [Math.min(...seen), Math.max(...seen)] : [0, 1];
      const tick = niceStep(Math.max(high - low, 0.5), 3);
      const bottom = which ? Math.min(0, Math.floor(low / tick) * tick) : Math.floor(low / tick) * tick;
      const style = (i) => ({ colour: colourOf(i), dash: i && colourOf(0) === colourOf(1) ? "5 4" : "" });
      drawChart(charts[which].holder, {
        ...size,
        height: 170,
        x: [1, last],
        y: [bottom, Math.ceil(high / tick + 1e-9) * tick],
        xLabel: "epoch",
        curves: series.map((points, i) => ({ points, ...style(i), width: points.length > 1 ? 2 : 0 })),
        marks: series.map((points, i) => ({ points: points.slice(-60), colour: colourOf(i) })),
        legend: which || run.models.length === 1 ? [] : run.models.map((_, i) => ({ text: titleOf(i), ...style(i) })),
        legendRight: true,
        label: `${which ? "KL" : "Reconstruction"} by epoch. ${series.map((points, i) => `${titleOf(i)}: ${points.length ? `after epoch ${points.length} ${one(points[points.length - 1][1])} nats` : "nothing yet"}`).join("; ")}.`,
      });
    });
  }

  const redraw = drawLater(() => draw());
  let charted = null;
  const frames = [];
  function draw() {
    if (!root.clientWidth) return;
    frames.push(performance.now());
    frames.splice(0, frames.length - 200);
    chooseReach();
    views.forEach((view, i) => {
      view.title.style.borderColor = colourOf(i);
      drawView(view);
    });
    const boxes = run.models.map((_, i) => [colourOf(i), `${titleOf(i)}: ${modelText(i) || "not trained yet"}`]);
    values.innerHTML = `<p class="tvae-sentence">${run.diverged ? summaryText() : `Epoch ${epochs()}, step ${run.steps}`}</p>${valueBoxes(boxes)}`;
    const wanted = `${root.clientWidth} ${epochs()} ${run.models.map((_, i) => titleOf(i))}`;
    if (wanted !== charted) drawCharts();
    charted = wanted;
    showButtons();
  }

  const { live, say } = voice(root, "Training in the page");
  const more = element("details", {}, element("summary", {}, "Learning rate, seed, kind of KL"));
  const seed = element("div", { class: "tvae-seed" }, element("label", { for: seedBox.id }, "Seed of weights, order and noise"), seedBox);
  more.append(element("div", { class: "tvae-settings" }, rate.node, kl.node, seed));
  root.append(
    element("div", { class: "tvae-buttons tvae-presets" }, ...presets),
    presetNote,
    ...modelControls.map(({ node }) => node),
    element("div", { class: "tvae-buttons" }, runButton, stepButton, againButton, link, linkNote),
    holder,
    ellipseLabel,
    values,
    element("div", { class: "tvae-panels" }, ...charts.map(({ node }) => node)),
    more,
    live,
    spot,
  );
  if (!readAddress()) setState(TRAININGS[0].state);
  window.addEventListener("hashchange", readAddress);

  root.__training = { // for tests
    run: () => run,
    busy: slices.busy,
    slices: slices.times,
    frames,
    lossAndGradients: (...job) => finish(lossAndGradients(...job)),
    start: () => layersOf(run.models[0].network).flatMap(({ weight, bias }) => [[...weight], [...bias]]),
    plan: (count) => Array.from({ length: count }, (_, steps) => ({
      rows: [...nextRows({ ...run, steps, ordered: null, order: new Int32Array(run.count) })],
      eps: [...noiseOf({ ...run, steps }, run.models[0].family)],
    })),
  };
  return draw;
});
