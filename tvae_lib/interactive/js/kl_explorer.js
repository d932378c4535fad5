// The KL explorer of chapter 02.

start("kl", (root) => {
  const redraw = drawLater(() => draw());
  const { state, controls } = controlled(
    root,
    {
      mu: { label: "location μ", symbol: "mu", values: Array.from({ length: 121 }, (_, i) => (i - 60) / 10) },
      sigma: { label: "scale σ", symbol: "sigma", values: ladder(0.05, 5) },
      df: { label: "degrees of freedom ν", symbol: "nu", values: ladder(1, 50), ends: ["1: Cauchy", "50: almost Gaussian"] },
    },
    redraw,
  );
  const panels = ["Densities", "Integrands q log(q / p): area = KL"].map(titledPanel);
  const values = element("div", { class: "tvae-values" });
  const sentence = element("p", { class: "tvae-sentence" });
  const { live, say } = voice(root, "KL explorer");
  root.append(
    element("div", { class: "tvae-controls" }, ...controls.map(({ node }) => node)),
    element("div", { class: "tvae-panels" }, ...panels.map(({ node }) => node)),
    values,
    sentence,
    element("p", { class: "tvae-note" }, "Both values are exact: what lies beyond the ends of the axis is in them."),
    live,
  );

  // An even grid over the axis, finer around q so that a narrow q keeps its shape.
  function grid(half) {
    const { mu, sigma } = state;
    const points = Array.from({ length: 241 }, (_, i) => -half + (2 * half * i) / 240);
    for (let i = -60; i <= 60; i += 1) points.push(mu + (sigma * i) / 12);
    return points.filter((z) => Math.abs(z) <= half).sort((first, second) => first - second);
  }

  function draw() {
    const { mu, sigma, df } = state;
    const half = [5, 8, 12, 20, 30].find((limit) => limit >= Math.abs(mu) + 3.5 * sigma) ?? 30;
    const z = grid(half);
    const families = [[Infinity, "gaussian"], [df, "t"]].map(([shape, name]) => {
      const log = logDensity(shape);
      const logP = z.map(log);
      const logQ = z.map((v) => log((v - mu) / sigma) - Math.log(sigma));
      return {
        colour: COLOURS[name],
        p: z.map((v, i) => [v, Math.exp(logP[i])]),
        q: z.map((v, i) => [v, Math.exp(logQ[i])]),
        integrand: z.map((v, i) => [v, Math.exp(logQ[i]) * (logQ[i] - logP[i])]),
      };
    });
    const range = (lists, least) => {
      const all = lists.flat().map(([, value]) => value);
      const [low, high] = [Math.min(0, ...all), Math.max(least, ...all)];
      const step = niceStep(high - low, 5);
      return [Math.floor(low / step + 1e-9) * step, Math.ceil((high / step) * 1.02) * step];
    };
    const size = { ...panelSize(root.querySelector(".tvae-panels")), x: [-half, half], xLabel: "z" };
    const [gaussian, t] = families;
    const kl = { gaussian: klGaussian(mu, sigma), t: klStudent(mu, sigma, df) };
    const shown = { gaussian: kl.gaussian.toFixed(4).replace("-0.0000", "0.0000"), t: kl.t.toFixed(4).replace("-0.0000", "0.0000") };
    const peak = ({ q }) => Math.max(...q.map(([, value]) => value)).toPrecision(2);

    drawChart(panels[0].holder, {
      ...size,
      y: range(families.flatMap(({ p, q }) => [p, q]), 0.45),
      curves: families.flatMap(({ colour, p, q }) => [
        { points: p, colour, dash: "5 4", width: 1.6 },
        { points: q, colour, width: 2.2 },
      ]),
      legend: [
        { text: "q Gaussian", colour: COLOURS.gaussian },
        { text: "p Gaussian", colour: COLOURS.gaussian, dash: "5 4" },
        { text: "q t", colour: COLOURS.t },
        { text: "p t", colour: COLOURS.t, dash: "5 4" },
      ],
      legendRight: mu < 0,
      label:
        `Densities for z from ${-half} to ${half}. The encoder's q is centred at ${mu} with scale ${sigma}; it peaks at ${peak(gaussian)} ` +
        `for the Gaussian and at ${peak(t)} for t with nu = ${df}. The priors p are centred at 0 with scale 1.`,
    });
    drawChart(panels[1].holder, {
      ...size,
      y: range(families.map(({ integrand }) => integrand), 0.05),
      curves: families.map(({ colour, integrand }) => ({ points: integrand, colour, fill: 0.22 })),
      label: `Integrands q log(q/p) for z from ${-half} to ${half}. Area for the Gaussian: ${shown.gaussian} nats. Area for t: ${shown.t} nats.`,
    });

    values.innerHTML = valueBoxes([
      [COLOURS.gaussian, `KL Gaussian <small>(closed form)</small> <span><b data-value="gaussian">${shown.gaussian}</b> nats</span>`],
      [COLOURS.t, `KL t, ν = ${df} <small>(exact)</small> <span><b data-value="t">${shown.t}</b> nats</span>`],
    ]);
    const difference = kl.gaussian - kl.t;
    const percent = ((100 * Math.abs(difference)) / kl.gaussian).toFixed(0);
    const text =
      Math.abs(difference) < 5e-5
        ? "t and Gaussian agree to four decimals."
        : `t ${difference > 0 ? "below" : "above"} Gaussian by ${Math.abs(difference).toFixed(4)} nats (${percent} %).`;
    sentence.textContent = text;
    say(`KL Gaussian ${shown.gaussian}, KL t ${shown.t}. ${text}`);
  }
  return draw;
});
