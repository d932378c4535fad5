// The figure of chapter 11: an encoder and a prior whose tails are set apart.

start("tails", (root) => {
  const redraw = drawLater(() => draw());
  const tails = { values: ladder(2.5, 200), ends: ["2.5", "200: almost Gaussian"] };
  const settings = {
    mu: { label: "location μ", symbol: "mu", values: Array.from({ length: 61 }, (_, i) => i / 10) },
    sigma: { label: "scale σ", symbol: "sigma", values: ladder(0.05, 2) },
    encoderDf: { label: "the encoder's ν", symbol: "nu of the encoder", ...tails },
    priorDf: { label: "the prior's ν", symbol: "nu of the prior", ...tails },
  };
  const { state, controls } = controlled(root, settings, redraw);
  const panels = ["Densities, logarithm to base 10", "KL against the location μ"].map(titledPanel);
  const values = element("div", { class: "tvae-values" });
  const sentence = element("p", { class: "tvae-sentence" });
  const { live, say } = voice(root, "Tails of encoder and prior");
  root.append(
    element("div", { class: "tvae-controls" }, ...controls.map(({ node }) => node)),
    element("div", { class: "tvae-panels" }, ...panels.map(({ node }) => node)),
    values,
    sentence,
    live,
  );

  function draw() {
    const { mu, sigma, encoderDf, priorDf } = state;
    const pairs = [
      { name: "both", text: "t encoder, t prior", tails: [encoderDf, priorDf], colour: COLOURS.t },
      { name: "encoder", text: "t encoder, Gaussian prior", tails: [encoderDf, Infinity], colour: COLOURS.encoder },
      { name: "prior", text: "Gaussian encoder, t prior", tails: [Infinity, priorDf], colour: COLOURS.prior },
      { name: "neither", text: "both Gaussian", tails: [Infinity, Infinity], colour: COLOURS.gaussian },
    ].map((pair) => ({ ...pair, kl: klApart(...pair.tails), dash: pair.name === "both" ? "" : "5 4" }));
    const kl = pairs.map((pair) => pair.kl(mu, sigma).toFixed(3).replace("-0.000", "0.000"));
    const size = { ...panelSize(root.querySelector(".tvae-panels")) };
    const z = Array.from({ length: 401 }, (_, i) => (i - 200) / 20);
    const [logQ, logP] = [logDensity(encoderDf), logDensity(priorDf)];
    const curve = (log) => z.map((v) => [v, log(v) / Math.LN10]).filter(([, y]) => y > -6);

    drawChart(panels[0].holder, {
      ...size,
      x: [-10, 10],
      xLabel: "z",
      y: [-6, 2],
      curves: [
        { points: curve(logP), colour: COLOURS.grey, dash: "5 4", width: 1.6 },
        { points: curve((v) => logQ((v - mu) / sigma) - Math.log(sigma)), colour: COLOURS.t, width: 2.2 },
      ],
      legend: [
        { text: "encoder q", colour: COLOURS.t },
        { text: "prior p", colour: COLOURS.grey, dash: "5 4" },
      ],
      label:
        `Logarithms of two densities from -10 to 10: the encoder's, centred at ${mu} with scale ${sigma} and nu = ${encoderDf}, ` +
        `and the prior's, centred at 0 with scale 1 and nu = ${priorDf}.`,
    });
    const at = Array.from({ length: 61 }, (_, i) => i / 10);
    const top = Math.max(...pairs.map((pair) => pair.kl(6, sigma)));
    drawChart(panels[1].holder, {
      ...size,
      x: [0, 6],
      xLabel: "μ",
      y: [0, Math.ceil(top / 5) * 5],
      curves: pairs.map((pair) => ({ points: at.map((m) => [m, pair.kl(m, sigma)]), colour: pair.colour, dash: pair.dash })),
      marks: [{ points: pairs.map((pair) => [mu, pair.kl(mu, sigma)]), colour: COLOURS.grey }],
      label: `KL in nats for locations from 0 to 6. At ${mu}: ${pairs.map((pair, i) => `${pair.text} ${kl[i]}`).join(", ")}.`,
    });
    values.innerHTML = valueBoxes(
      pairs.map((pair, i) => [pair.colour, `${pair.text} <span><b data-value="${pair.name}">${kl[i]}</b> nats</span>`]),
    );
    const text =
      `Compared with both Gaussian, the encoder's tail alone changes the KL by ${minus((kl[1] - kl[3]).toFixed(3))} nats, ` +
      `the prior's alone by ${minus((kl[2] - kl[3]).toFixed(3))}.`;
    sentence.textContent = text;
    say(`${pairs.map((pair, i) => `${pair.text}: ${kl[i]}`).join(", ")} nats. ${text}`);
  }
  return draw;
});
