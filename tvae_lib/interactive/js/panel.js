// What the live figures share: a control with label, slider and number box, and a chart drawn as SVG.

const COLOURS = { gaussian: "#0072B2", t: "#D55E00", grey: "#595959", prior: "#009E73", encoder: "#CC79A7" }; // as tvae_lib.plots

function uniqueId(prefix) {
  let id;
  do id = prefix + "-" + Math.random().toString(36).slice(2, 8);
  while (document.getElementById(id));
  return id;
}

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// A slider over `values` and a box in which any number between the first and the last can be typed.
// Calls onChange(value). Returns { node, set, show }; show(value) moves the slider without a call.
function control({ label, symbol, values, start, onChange, ends = values }) {
  const [low, high] = [values[0], values[values.length - 1]];
  const id = uniqueId("tvae");
  const slider = element("input", { type: "range", id, min: 0, max: values.length - 1, step: 1 });
  const box = element("input", { type: "number", min: low, max: high, step: "any", inputmode: "decimal", "aria-label": `${label}, exact value` });
  const nearest = (value) => values.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(values[best] - value) ? i : best), 0);
  let current = start;
  const show = (value, from) => {
    current = value;
    if (from !== slider) slider.value = nearest(value);
    if (from !== box) box.value = value;
    slider.setAttribute("aria-valuetext", `${symbol} = ${value}`);
  };
  const set = (value, from) => {
    show(value, from);
    onChange(value);
  };
  const typed = () => Number.parseFloat(box.value);
  slider.addEventListener("input", () => set(values[slider.value], slider));
  box.addEventListener("input", () => typed() >= low && typed() <= high && set(typed(), box));
  box.addEventListener("change", () => set(Number.isFinite(typed()) ? Math.min(high, Math.max(low, typed())) : current));
  const scale = element("div", { class: "tvae-ends", "aria-hidden": "true" });
  scale.append(element("span", {}, minus(ends[0])), element("span", {}, minus(ends[ends.length - 1])));
  const head = element("div", { class: "tvae-head" }, element("label", { for: id }, label), box);
  show(start);
  return { node: element("div", { class: "tvae-control" }, head, slider, scale), set, show };
}

// A control for each of the settings, which start as the page's data say; `state` follows them, and `redraw` is called.
function controlled(root, settings, redraw) {
  const state = {};
  const controls = Object.entries(settings).map(([name, setting]) => {
    state[name] = Number(root.dataset[name]);
    const onChange = (value) => {
      state[name] = value;
      redraw();
    };
    return control({ ...setting, start: state[name], onChange });
  });
  return { state, controls };
}

function minus(value) {
  return String(value).replace("-", "\u2212");
}

// Draw a chart into `holder`. curves: [{ points: [[x, y], ...], colour, dash, fill, width }]; marks: [{ points, colour }] are dots.
function drawChart(holder, { width, height, x, y, xLabel, curves, marks = [], legend = [], legendRight = false, label }) {
  const [left, right, top, bottom] = [44, 10, 10, 38];
  const px = (v) => left + ((v - x[0]) / (x[1] - x[0])) * (width - left - right);
  const py = (v) => height - bottom - ((v - y[0]) / (y[1] - y[0])) * (height - top - bottom);
  const ticks = ([low, high], count) => {
    const step = niceStep(high - low, count);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i <= high / step + 1e-9; i += 1) found.push([i * step, minus((i * step + 0).toFixed(digits))]);
    return found.map(([value, text]) => [value, /^\u22120\.?0*$/.test(text) ? text.slice(1) : text]);
  };
  const parts = [];
  for (const [value, text] of ticks(y, 4)) {
    const row = py(value).toFixed(1);
    parts.push(`<path d="M${left} ${row}H${width - right}" stroke="${Math.abs(value) < 1e-12 ? "#8c8c8c" : "#e6e6e6"}"/>`);
    parts.push(`<text x="${left - 6}" y="${row}" dy="0.35em" text-anchor="end">${text}</text>`);
  }
  for (const [value, text] of ticks(x, width < 320 ? 4 : 6)) {
    const column = px(value).toFixed(1);
    parts.push(`<path d="M${column} ${height - bottom}v5" stroke="#8c8c8c"/>`);
    parts.push(`<text x="${column}" y="${height - bottom + 17}" text-anchor="middle">${text}</text>`);
  }
  parts.push(`<text x="${(left + width - right) / 2}" y="${height - 4}" text-anchor="middle">${xLabel}</text>`);
  parts.push(`<path d="M${left} ${top}V${height - bottom}H${width - right}" fill="none" stroke="#8c8c8c"/>`);
  const clip = ([vx, vy]) => `${px(vx).toFixed(1)} ${py(Math.min(y[1], Math.max(y[0], vy))).toFixed(1)}`;
  for (const { points, colour, dash = "", fill, width: thick = 2 } of curves) {
    const line = points.map(clip).join("L");
    if (fill) {
      const base = py(0).toFixed(1);
      parts.push(`<path d="M${px(points[0][0]).toFixed(1)} ${base}L${line}L${px(points[points.length - 1][0]).toFixed(1)} ${base}Z" fill="${colour}" fill-opacity="${fill}"/>`);
    }
    if (thick) parts.push(`<path d="M${line}" fill="none" stroke="${colour}" stroke-width="${thick}" stroke-dasharray="${dash}" stroke-linejoin="round"/>`);
  }
  for (const { points, colour, size = 2.4 } of marks) {
    for (const point of points) parts.push(`<circle cx="${clip(point).replace(" ", '" cy="')}" r="${size}" fill="${colour}" fill-opacity="0.75"/>`);
  }
  legend.forEach(({ text, colour, dash = "", dot = false }, i) => {
    const row = top + 9 + 17 * i;
    const [from, at, anchor] = legendRight ? [width - right - 32, width - right - 38, "end"] : [left + 8, left + 38, "start"];
    if (dot) parts.push(`<circle cx="${from + 12}" cy="${row}" r="3" fill="${colour}"/>`);
    else parts.push(`<path d="M${from} ${row}h24" stroke="${colour}" stroke-width="2.2" stroke-dasharray="${dash}"/>`);
    parts.push(`<text x="${at}" y="${row}" dy="0.35em" text-anchor="${anchor}" class="tvae-legend">${text}</text>`);
  });
  holder.innerHTML = `<svg role="img" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${parts.join("")}</svg>`;
  holder.firstChild.setAttribute("aria-label", label);
}

// Two panels side by side where there is room, else one above the other: the size of each.
function panelSize(panels) {
  const columns = panels.clientWidth < 540 ? 1 : 2;
  panels.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  const width = Math.floor((panels.clientWidth - 16 * (columns - 1)) / columns);
  return { width, height: Math.round(Math.min(270, Math.max(200, width * 0.62))) };
}

// Run `build(root)` once on every figure of this kind on the page; build returns draw(), called when the width changes too.
function start(kind, build) {
  for (const root of document.querySelectorAll(`.tvae-explorer[data-kind="${kind}"]:not([data-ready])`)) {
    root.setAttribute("data-ready", "");
    const draw = build(root);
    // In JupyterLab an arrow key or "d d" would otherwise move between cells or delete one; it looks at the focused element itself.
    for (const input of root.querySelectorAll("input, button")) input.setAttribute("data-lm-suppress-shortcuts", "true");
    let width = 0;
    new ResizeObserver(() => {
      if (root.clientWidth && root.clientWidth !== width) draw();
      width = root.clientWidth;
    }).observe(root);
  }
}

// Name the figure for a screen reader, and make a region whose text it says, to be put into the figure. Returns { live, say }.
function voice(root, name) {
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", name);
  const live = element("div", { class: "tvae-spoken", "aria-live": "polite" });
  return { live, say: announcer(live) };
}

// Draw with the next frame, however often it is asked for until then.
function drawLater(draw) {
  let pending = false;
  return () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      draw();
    });
  };
}

// A chart's holder with its title above. Returns { node, holder }.
function titledPanel(title) {
  const holder = element("div", { class: "tvae-chart" });
  return { holder, node: element("div", { class: "tvae-panel" }, element("div", { class: "tvae-title" }, title), holder) };
}

// Numbers in boxes with a coloured edge; each [colour, HTML].
function valueBoxes(boxes) {
  return boxes.map(([colour, html]) => `<div class="tvae-value" style="border-color:${colour}">${html}</div>`).join("");
}

// Say `text` to a screen reader once the control has rested for a moment, not at every step.
function announcer(region) {
  let timer;
  return (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => (region.textContent = text), 400);
  };
}

// A group of radio buttons; options: [[value, text or node], ...]. Returns { node, set }.
function choices({ legend, options, start, onChange, className = "" }) {
  const name = uniqueId("tvae-choice");
  const inputs = options.map(([value]) => element("input", { type: "radio", name, value }));
  const node = element("fieldset", { class: `tvae-choices ${className}` }, element("legend", {}, legend));
  options.forEach(([value, content], i) => {
    inputs[i].addEventListener("change", () => onChange(value));
    node.append(element("label", {}, inputs[i], content));
  });
  const set = (wanted) => inputs.forEach((input, i) => (input.checked = options[i][0] === wanted));
  set(start);
  return { node, set };
}

function pushButton(text, onClick) {
  const button = element("button", { type: "button" }, text);
  button.addEventListener("click", onClick);
  return button;
}

// Work of a generator function in slices of at most 12 ms between which the page can do other things; none while the tab is hidden.
// draw(done) is called for a frame, about every `pause` ms and at the end. Returns { start(generator), busy(), times }.
function slicer(root, draw, pause = 80) {
  const { port1, port2 } = new MessageChannel();
  let [work, queued, longest, drawn] = [null, false, 0, 0];
  const times = []; // of the last slices, in ms
  const again = () => {
    if (queued || !work || document.hidden) return;
    queued = true;
    port2.postMessage(null);
  };
  port1.onmessage = () => {
    queued = false;
    if (!work || document.hidden || !root.isConnected) return;
    const began = performance.now();
    let [now, done] = [began, false];
    do {
      const before = now;
      done = work.next().done;
      now = performance.now();
      longest = Math.max(0.9 * longest, now - before);
    } while (!done && now - began + longest < 12);
    times.push(now - began);
    times.splice(0, times.length - 200);
    if (done) work = null;
    if (done || now - drawn > pause) {
      drawn = now;
      requestAnimationFrame(() => draw(done));
    }
    again();
  };
  document.addEventListener("visibilitychange", again);
  return {
    start(generator) {
      work = generator;
      again();
    },
    busy: () => work !== null,
    times,
  };
}
