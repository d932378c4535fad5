// The latent explorer of chapter 06: every coordinate a slider, the decoders of both models side by side.

start("latent", (root) => {
  const models = shippedModels();
  const data = shipped("latent");
  const images = shippedImages(data);
  const REACH = 5;
  let digit = null; // index of the test digit that the codes come from
  let draws = 0;

  const original = picture("test digit");
  const columns = models.map((model) => {
    const { name } = model;
    const kl = data.kl[name];
    const order = kl.map((_, i) => i).sort((first, second) => kl[second] - kl[first]);
    const z = new Float32Array(kl.length);
    const view = picture(TITLES[name]);
    const sliders = order.map((i) => {
      const id = uniqueId("tvae");
      const input = element("input", { type: "range", id, min: -REACH, max: REACH, step: 0.1 });
      const value = element("output", { for: id });
      const label = element("label", { for: id }, `z${i + 1} `, element("small", {}, `KL ${kl[i].toFixed(2)}`));
      label.prepend(element("span", { class: "tvae-spoken" }, `${TITLES[name]}, `));
      input.addEventListener("input", () => {
        z[i] = Number(input.value);
        draw();
      });
      const show = () => {
        const text = z[i].toFixed(1).replace("-0.0", "0.0");
        if (Number(input.value) !== Number(text)) input.value = z[i];
        value.textContent = minus(text);
        input.setAttribute("aria-valuetext", `z${i + 1} = ${text}`);
      };
      return { show, active: kl[i] > 0.05, node: element("div", { class: "tvae-slider" }, label, input, value) };
    });
    const rest = sliders.filter(({ active }) => !active);
    const title = element("div", { class: "tvae-title tvae-model", style: `border-color:${COLOURS[name]}` }, TITLES[name]);
    const node = element("div", { class: "tvae-column" }, title, ...sliders.filter(({ active }) => active).map((slider) => slider.node));
    if (rest.length) {
      const summary = element("summary", {}, `${rest.length} inactive: ${rest.length > 1 ? "they change" : "it changes"} next to nothing`);
      node.append(element("details", {}, summary, ...rest.map((slider) => slider.node)));
    }
    return { model, name, z, view, sliders, node };
  });

  const setCodes = (code) => {
    columns.forEach((column, i) => column.z.set(code(column, i)));
    draw();
  };
  const choose = pushButton("A test digit", () => {
    digit = digit === null ? 0 : (digit + 1) % images.length;
    setCodes(({ name }) => data.codes[name][digit]);
  });
  const sample = pushButton("A draw from the prior", () => {
    digit = null;
    draws += 1;
    setCodes(({ z, model }) => {
      const next = standardDraws(draws, model.df);
      return Array.from(z, () => Math.min(REACH, Math.max(-REACH, next())));
    });
  });
  const reset = pushButton("Reset", () => {
    digit = null;
    setCodes(({ z }) => z.map(() => 0));
  });
  const sentence = element("p", { class: "tvae-note" });
  const { live, say } = voice(root, "Latent explorer");
  root.append(
    element("div", { class: "tvae-buttons" }, choose, sample, reset),
    element("div", { class: "tvae-views" }, ...columns.map(({ view }) => view.node), original.node),
    sentence,
    element("div", { class: "tvae-columns" }, ...columns.map(({ node }) => node)),
    live,
  );

  function draw() {
    for (const { model, name, z, view, sliders } of columns) {
      const pixels = decode(model, z);
      view.paint(pixels, `What the ${TITLES[name]} decoder makes of its code`);
      for (const { show } of sliders) show();
    }
    original.node.style.visibility = digit === null ? "hidden" : "visible";
    let text = "Codes set by hand or drawn: no original.";
    if (digit === null && columns.every(({ z }) => z.every((value) => value === 0))) text = "All coordinates are 0, the centre of both priors.";
    if (digit !== null) {
      original.paint(images[digit], `Test digit ${data.labels[digit]}, row ${data.rows[digit]}`);
      const errors = columns.map(({ model, z, name }) => {
        const pixels = decode(model, z);
        const error = pixels.reduce((sum, value, i) => sum + (value - images[digit][i]) ** 2, 0) / PIXELS;
        return `${TITLES[name]} ${error.toFixed(4)}`;
      });
      text = `Test image ${data.rows[digit]}, a ${data.labels[digit]}. Mean squared error of what is decoded: ${errors.join("; ")}.`;
    }
    sentence.textContent = text;
    say(text);
  }
  draw();
  return () => {};
});
