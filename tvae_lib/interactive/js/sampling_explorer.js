// The sampling explorer of chapter 03.

start("sampling", (root) => {
  const most = 20000;
  const seed = Number(root.dataset.seed);
  let df = Number(root.dataset.df);
  let next, draws;
  const renew = (count) => {
    [next, draws] = [studentDraws(seed, df), []];
    add(count);
  };
  const add = (count) => {
    for (let i = 0; i < count && draws.length < most; i += 1) draws.push(next());
  };
  renew(Number(root.dataset.draws));

  const redraw = drawLater(() => draw());
  const { node: slider } = control({
    label: "degrees of freedom ν",
    symbol: "nu",
    values: ladder(1, 50),
    ends: ["1: Cauchy", "50: almost Gaussian"],
    start: df,
    onChange: (value) => {
      df = value;
      renew(draws.length);
      redraw();
    },
  });
  const buttons = [["+ 1 draw", 1], ["+ 10", 10], ["+ 1000", 1000], ["Start again", 0]].map(([text, count]) => {
    const button = pushButton(text, () => {
      if (count) add(count);
      else renew(1);
      redraw();
    });
    if (count > 1) button.setAttribute("aria-label", `${text} draws`);
    return button;
  });
  const panels = ["Histogram against the densities", "Quantiles, draws against theory"].map(titledPanel);
  const recipe = element("p", { class: "tvae-sentence" });
  const values = element("div", { class: "tvae-values" });
  const note = element("p", { class: "tvae-note" });
  const { live, say } = voice(root, "Sampling explorer");
  root.append(
    element("div", { class: "tvae-controls" }, slider, element("div", { class: "tvae-buttons" }, ...buttons)),
    recipe,
    element("div", { class: "tvae-panels" }, ...panels.map(({ node }) => node)),
    values,
    note,
    live,
  );

  // Outline of the histogram with bins of half a unit on [-8, 8]; heights are shares of all draws, those outside included.
  function histogram(sorted) {
    const counts = new Array(32).fill(0);
    for (const t of sorted) if (t >= -8 && t < 8) counts[Math.floor(2 * (t + 8))] += 1;
    return counts.flatMap((count, i) => [i / 2 - 8, (i + 1) / 2 - 8].map((edge) => [edge, count / (0.5 * sorted.length)]));
  }

  function draw() {
    const n = draws.length;
    const last = draws[n - 1];
    const sorted = draws.map(({ t }) => t).sort((first, second) => first - second);
    const logs = { t: logDensity(df), gaussian: logDensity(Infinity) };
    const tables = { t: tailTable(logs.t, Math.sqrt(df)), gaussian: tailTable(logs.gaussian, 1) };
    const size = panelSize(root.querySelector(".tvae-panels"));

    const bars = histogram(sorted);
    const curve = (log) => Array.from({ length: 201 }, (_, i) => [i * 0.08 - 8, Math.exp(log(i * 0.08 - 8))]);
    drawChart(panels[0].holder, {
      ...size,
      x: [-8, 8],
      y: [0, Math.max(0.5, Math.ceil(10 * Math.max(...bars.map(([, height]) => height)) + 0.5) / 10)],
      xLabel: "ε (black: the last draw)",
      curves: [
        { points: bars, colour: COLOURS.grey, fill: 0.3, width: 1 },
        { points: curve(logs.gaussian), colour: COLOURS.gaussian, dash: "5 4", width: 1.8 },
        { points: curve(logs.t), colour: COLOURS.t, width: 2.2 },
      ],
      marks: Math.abs(last.t) <= 8 ? [{ points: [[last.t, 0]], colour: "#000", size: 5 }] : [],
      legend: [
        { text: "draws", colour: COLOURS.grey },
        { text: "t", colour: COLOURS.t },
        { text: "Gaussian", colour: COLOURS.gaussian, dash: "5 4" },
      ],
      label: `Histogram of ${n} draws of epsilon from -8 to 8, with the density of t for nu = ${df} and of the Gaussian.`,
    });

    const points = Math.min(n, 99);
    const pairs = (quantile) =>
      Array.from({ length: points }, (_, i) => {
        const p = (i + 0.5) / points;
        return [quantile(p), sorted[Math.min(n - 1, Math.floor(p * n))]];
      });
    const reach = Math.max(3, tables.t.quantile(1 - 0.5 / Math.max(points, 20)));
    const half = [4, 6, 10, 16, 25, 40, 70].find((limit) => limit >= reach) ?? 70;
    const inside = (list) => list.filter(([, y]) => Math.abs(y) <= half);
    drawChart(panels[1].holder, {
      ...size,
      x: [-half, half],
      y: [-half, half],
      xLabel: "quantile of the density",
      curves: [{ points: [[-half, -half], [half, half]], colour: COLOURS.grey, width: 1.2 }],
      marks: [
        { points: inside(pairs(tables.gaussian.quantile)), colour: COLOURS.gaussian },
        { points: inside(pairs(tables.t.quantile)), colour: COLOURS.t },
      ],
      legend: [
        { text: "against t", colour: COLOURS.t, dot: true },
        { text: "against Gaussian", colour: COLOURS.gaussian, dot: true },
      ],
      label:
        `QQ plot of ${points} quantiles of the draws, from -${half} to ${half}. Against t with nu = ${df} the dots follow the diagonal; ` +
        "against the Gaussian they leave it in the tails.",
    });

    const percent = (share) => (100 * share).toFixed(2);
    const shares = {
      draws: percent(draws.filter(({ t }) => Math.abs(t) > 3).length / n),
      t: percent(2 * tables.t.above(3)),
      gaussian: percent(2 * tables.gaussian.above(3)),
    };
    recipe.textContent =
      `Draw ${n}: Z = ${minus(last.z.toFixed(3))}, V = ${last.v.toFixed(3)}, ε = Z / √(V / ${df}) = ${minus(last.t.toFixed(3))}`;
    const names = { draws: `${n} draws`, t: `t, ν = ${df}`, gaussian: "Gaussian" };
    const box = ([name, share]) => [COLOURS[name] ?? COLOURS.grey, `beyond ±3, ${names[name]} <span><b data-value="${name}">${share}</b> %</span>`];
    values.innerHTML = valueBoxes(Object.entries(shares).map(box));
    const farthest = -sorted[0] > sorted[n - 1] ? sorted[0] : sorted[n - 1];
    const text = `The draw farthest from 0 is ${minus(farthest.toFixed(1))}.`;
    note.textContent = text + (n === most ? ` No more than ${most} draws are kept.` : "");
    say(`${n} draws, ${shares.draws} % beyond plus or minus 3; t has ${shares.t} %, the Gaussian ${shares.gaussian} %. ${text}`);
  }
  return draw;
});
