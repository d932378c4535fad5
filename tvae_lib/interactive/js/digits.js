// What the figures with trained models share: the data they find in the page, pictures of digits.

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
function picture(caption, width = SIDE, height = width) {
  const canvas = element("canvas", { width, height, role: "img", "aria-label": caption || "empty" });
  const node = element("div", { class: "tvae-picture" }, element("div", { class: "tvae-caption" }, caption), canvas);
  const context = canvas.getContext("2d");
  const data = context.createImageData(width, height);
  const channels = data.data; // red, green, blue, opacity of each pixel, kept in 0 to 255 by its type
  const paint = (values, label, white = 1, missing = null) => {
    for (let i = 0, at = 0; i < width * height; i += 1, at += 4) {
      const hidden = missing !== null && missing[i];
      const grey = (255 * values[i]) / white;
      channels[at] = hidden ? 232 : grey;
      channels[at + 1] = channels[at + 2] = hidden ? 160 : grey;
      channels[at + 3] = 255;
    }
    context.putImageData(data, 0, 0);
    canvas.setAttribute("aria-label", label);
  };
  return { node, canvas, paint };
}
