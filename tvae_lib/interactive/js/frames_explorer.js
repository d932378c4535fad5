// A slider over pictures that were drawn beforehand.

start("frames", (root) => {
  const { label, ticks, frames } = JSON.parse(document.querySelector('script[data-tvae="frames"]').textContent);
  const id = uniqueId("tvae");
  const slider = element("input", { type: "range", id, min: 0, max: frames.length - 1, step: 1, value: root.dataset.start });
  const value = element("output", { for: id });
  const image = element("img", {});
  const { live, say } = voice(root, label);
  const scale = element("div", { class: "tvae-ends", "aria-hidden": "true" }, ...ticks.map((tick) => element("span", {}, tick)));
  const head = element("div", { class: "tvae-head" }, element("label", { for: id }, label), value);
  root.append(element("div", { class: "tvae-control" }, head, slider, scale), image, live);

  function show() {
    const frame = frames[slider.value];
    value.textContent = frame.name;
    slider.setAttribute("aria-valuetext", `${label}: ${frame.name}`);
    image.src = frame.src;
    image.alt = frame.alt;
  }
  slider.addEventListener("input", () => {
    show();
    say(frames[slider.value].alt);
  });
  show();
  return () => {};
});
