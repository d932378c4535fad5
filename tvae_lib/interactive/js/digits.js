// What the figures with trained models share: the data they find in the page, pictures of 28 x 28 pixels, groups of choices.

const TITLES = { gaussian: "Gaussian", t: "t, ν = 21" };

// A JSON text that some figure put into the page, or null.
function shipped(name) {
  const node = document.querySelector(`script[data-tvae="${name}"]`);
  return node && JSON.parse(node.textContent);
}

function shippedModels() {
  const names = Object.keys(TITLES);
  return names.map((name) => ({ name, ...buildModel(shipped(`${name}-decoder`), shipped(`${name}-encoder`)) }));
}

// Test digits as arrays of values in [0, 1].
function shippedImages({ pixels, rows }) {
  const bytes = fromBase64(pixels);
  return rows.map((_, i) => Float32Array.from(bytes.subarray(i * PIXELS, (i + 1) * PIXELS), (byte) => byte / 255));
}

// A canvas with a caption above. Returns { node, canvas, paint(values, label, white, missing) }: `white` is the value drawn white;
// missing pixels are drawn in the light red of the book's figures.
function picture(caption) {
  const canvas = element("canvas", { width: SIDE, height: SIDE, role: "img" });
  const node = element("div", { class: "tvae-picture" }, element("div", { class: "tvae-caption" }, caption), canvas);
  const context = canvas.getContext("2d");
  const data = context.createImageData(SIDE, SIDE);
  const paint = (values, label, white = 1, missing = null) => {
    for (let i = 0; i < PIXELS; i += 1) {
      const grey = (255 * values[i]) / white;
      data.data.set(missing && missing[i] ? [232, 160, 160, 255] : [grey, grey, grey, 255], 4 * i);
    }
    context.putImageData(data, 0, 0);
    canvas.setAttribute("aria-label", label);
  };
  return { node, canvas, paint };
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
