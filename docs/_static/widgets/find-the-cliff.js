/* Where the signal dies, and where the step is too large: the formula for random weights, for any
   depth, beside the test accuracies that two experiments have recorded. */
(function () {
  "use strict";
  const { fixed, short, slider, choice } = bnWidgets;
  const ARMS = ["without BN", "with BN"];
  const NETS = { sigmoid: "sigmoids", relu: "ReLU" };
  const DEPTHS = [2, 30]; // hidden layers

  /* The mean of a smooth function of a normal number with mean 0 and this deviation. */
  function normalMean(f, deviation) {
    let [total, weight] = [0, 0];
    for (let i = 0; i < 1000; i++) {
      const z = (i + 0.5) / 50 - 10;
      const density = Math.exp((-z * z) / 2);
      total += density * f(deviation * z);
      weight += density;
    }
    return total / weight;
  }

  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  const slope = (z) => sigmoid(z) * (1 - sigmoid(z));

  /* By what one layer multiplies the signal, and the gradient on its way back (eq-signal-gain). A
     sigmoid puts out about 1/2, so the inputs of the next ones lie around means of this spread. */
  function gain(net, width, scale) {
    if (net === "relu") return scale; // He's weights have 1
    const steep = normalMean((z) => slope(z) ** 2, (scale * Math.sqrt(width)) / 2);
    return Math.sqrt(steep * width) * scale;
  }

  /* By what one layer with batch normalization multiplies the gradient (the root of eq-growth). */
  function growth(net) {
    if (net === "relu") return Math.sqrt(Math.PI / (Math.PI - 1));
    const center = normalMean(sigmoid, 1);
    return Math.sqrt(normalMean((z) => slope(z) ** 2, 1) / normalMean((z) => (sigmoid(z) - center) ** 2, 1));
  }

  function numbers({ net, scale, rate, depth }, { studies }) {
    const { width, scales, accuracy } = studies[net];
    const gains = scales.map((v) => gain(net, width, v));
    const factors = [gains[scale], growth(net)];
    return {
      ...{ gains, factors },
      signal: [factors[0] ** (depth - 1), 1],
      gradient: factors.map((v) => v ** (depth - 1)),
      accuracy: ARMS.map((arm) => accuracy[arm][scale][rate]),
    };
  }

  const power = (v) => (v >= 0.01 && v < 1000 ? short(v, 2) : v.toExponential(0).replace("e+", "e").replace("-", "\u2212"));
  const percent = (v) => (v === null ? "diverged" : `${fixed(v, 1)}\u00a0%`);

  const label = (x, y, words, kind = "bn-middle") => `<text class="${kind}" x="${x}" y="${y}">${words}</text>`;
  const [ENDS, TOP, BOTTOM] = [8, 20, 110]; // decades to either side of 1; where the panels are

  /* Straight lines on a logarithmic axis, from the layer where all begin; one that leaves the panel
     ends in a head. */
  function panel(left, title, depth, factors, back) {
    const right = left + 136;
    const up = (decades) => (TOP + BOTTOM) / 2 - ((BOTTOM - TOP) / 2) * (decades / ENDS);
    const across = (steps) => (back ? right - (steps / (depth - 1)) * 136 : left + (steps / (depth - 1)) * 136);
    const lines = factors.map((factor, arm) => {
      const decades = Math.log10(factor);
      const steps = Math.min(depth - 1, ENDS / Math.max(Math.abs(decades), 1e-9));
      const [x, y] = [across(steps).toFixed(1), up(decades * steps).toFixed(1)];
      const out = steps < depth - 1;
      const way = y < up(0) ? -6 : 6;
      const end = out ? `<path class="${arm ? "bn-b" : "bn-a"}" d="M${x} ${y}l-5 ${-way}h10Z"/>`
        : arm ? `<path class="bn-b" d="M${x} ${y}m-4 -4h8v8h-8Z"/>` : `<circle class="bn-a" cx="${x}" cy="${y}" r="4.5"/>`;
      return `<path class="bn-line ${arm ? "bn-b" : "bn-a"}" d="M${across(0)} ${up(0)}L${x} ${y}"/>${end}`;
    });
    const grid = [-8, -4, 0, 4, 8].map(
      (v) => `<path class="bn-grid" d="M${left} ${up(v)}H${right}"/>${back ? "" : label(left - 5, up(v) + 4, v ? `1e${fixed(v, 0)}` : "1", "bn-end")}`
    );
    return `${label(left, 11, title, "")}${grid.join("")}${lines.join("")}
      ${label(left, BOTTOM + 15, "1")}${label(right, BOTTOM + 15, depth)}${label(left + 68, BOTTOM + 15, "layer")}`;
  }

  const [LEFT, RIGHT, HEIGHT] = [48, 296, 96]; // of a map

  const nearest = (list, value) => {
    const far = list.map((v) => Math.abs(Math.log(v / value)));
    return far.indexOf(Math.min(...far));
  };

  /* Whether a training has come at least halfway from guessing to no mistake. */
  const usable = (value, level) => value !== null && value >= level;

  /* One map: a row for each scale, in the order of its slider; a thick line where larger rates
     fail, the cliff, which is named above the first. */
  function map(arm, top, state, { gains }, { studies, level }) {
    const { scales, rates, accuracy, hidden } = studies[state.net];
    const [size, height] = [(RIGHT - LEFT) / rates.length, HEIGHT / scales.length];
    const rowAt = (i) => top + height * i;
    const edges = scales.map((_, i) => {
      const last = accuracy[ARMS[arm]][i].map((v) => usable(v, level)).lastIndexOf(true);
      return last >= 0 && last < rates.length - 1 ? LEFT + size * (last + 1) : null;
    });
    const first = edges.find((edge) => edge !== null);
    const named = first === undefined ? "" : label(Math.max(first, LEFT + 118).toFixed(1), top - 6, "cliff ↓");
    const rows = scales.map((scale, i) => {
      const y = rowAt(i);
      const middle = y + height / 2 + 4;
      const cells = accuracy[ARMS[arm]][i].map((v, j) => {
        const x = LEFT + size * j;
        const shade = v === null ? 0 : (0.3 * v) / 100;
        const fine = usable(v, level);
        return `<g data-cell="${i},${j}"><rect class="bn-square" fill-opacity="${shade.toFixed(2)}" x="${x.toFixed(1)}" y="${y}" width="${size.toFixed(1)}" height="${height}"/>
          ${label((x + size / 2).toFixed(1), middle, v === null ? "–" : fixed(v, 0), fine ? "bn-middle bn-bold" : "bn-middle")}</g>`;
      });
      const cliff = edges[i] === null ? "" : `<path class="bn-cliff" d="M${edges[i].toFixed(1)} ${y + 1}v${height - 2}"/>`;
      const left = arm ? "1" : power(gains[i] ** (hidden - 1)); // of the networks that were trained
      return `${label(LEFT - 6, middle, short(scale), "bn-end")}${cells.join("")}${cliff}${label(RIGHT + 8, middle, left, "")}`;
    });
    const x = (LEFT + size * state.rate).toFixed(1);
    return `${label(LEFT - 6, top - 6, "scale", "bn-end")}${label(LEFT, top - 6, ARMS[arm], "bn-bold")}${named}
      ${label(RIGHT + 8, top - 6, "signal", "")}${rows.join("")}
      <rect class="bn-here" x="${x}" y="${rowAt(state.scale)}" width="${size.toFixed(1)}" height="${height}"/>`;
  }

  function picture(state, numbers, data) {
    const { rates, hidden } = data.studies[state.net];
    const [first, second] = [176, 176 + HEIGHT + 24];
    const size = (RIGHT - LEFT) / rates.length;
    const ticks = rates.map((v, j) => label((LEFT + size * (j + 0.5)).toFixed(1), second + HEIGHT + 15, power(v)));
    return `<svg viewBox="0 0 360 ${second + HEIGHT + 38}" role="img" aria-label="Two panels from the formula: signal and gradient by layer, without and with batch normalization. Two maps of recorded test accuracies over the scale of the weights and the learning rate; the table has the numbers of the chosen square.">
      ${panel(44, "signal, formula", state.depth, [numbers.factors[0], 1], false)}
      ${panel(212, "gradient, formula", state.depth, numbers.factors, true)}
      ${label(4, 146, `test accuracy (%), recorded, ${hidden} hidden layers`, "")}
      ${map(0, first, state, numbers, data)}${map(1, second, state, numbers, data)}
      ${ticks.join("")}${label((LEFT + RIGHT) / 2, second + HEIGHT + 31, "learning rate")}</svg>`;
  }

  function view(state, numbers, data) {
    const { scales, rates, hidden } = data.studies[state.net];
    const rows = [
      [`signal, layer ${state.depth} / layer 1`, numbers.signal.map(power)],
      [`gradient, layer 1 / layer ${state.depth}`, numbers.gradient.map(power)],
      [`test accuracy, recorded with ${hidden} layers`, numbers.accuracy.map(percent)],
    ].map(([name, values]) => `<tr><th scope="row">${name}</th>${values.map((v) => `<td>${v}</td>`).join("")}</tr>`);
    const key = (arm) => (arm ? '<rect class="bn-b" x="1" y="1" width="10" height="10"/>' : '<circle class="bn-a" cx="6" cy="6" r="5"/>');
    const heads = ARMS.map((name, arm) => `<th scope="col"><svg class="bn-key" viewBox="0 0 12 12" aria-hidden="true">${key(arm)}</svg> ${name}</th>`);
    return `<div class="bn-columns"><div class="bn-figure bn-maps">${picture(state, numbers, data)}</div>
      <div class="bn-side"><div class="bn-controls bn-input">
      ${choice("net", "Activation", Object.keys(NETS).map((net) => [net, NETS[net]]), state.net)}
      ${slider("depth", "hidden layers", { min: DEPTHS[0], max: DEPTHS[1], step: 1, value: state.depth, text: String(state.depth) })}
      ${slider("scale", "weight scale", { min: 0, max: scales.length - 1, step: 1, value: state.scale, text: short(scales[state.scale]) })}
      ${slider("rate", "learning rate", { min: 0, max: rates.length - 1, step: 1, value: state.rate, text: power(rates[state.rate]) })}</div>
      <table><thead><tr><td></td>${heads.join("")}</tr></thead><tbody>${rows.join("")}</tbody></table></div></div>
      <p class="bn-legend">In bold: at least halfway from guessing to no mistake. A thick line is the cliff: to the right of it the rate is too large.</p>`;
  }

  /* What became of a training, and why, as far as its row of the map and the formula tell: how much
     of the signal is left in the last layer. */
  function fate(values, rate, left, level) {
    const guessing = 2 * level - 100; // of which level is halfway to no mistake
    const trains = values.map((v) => usable(v, level));
    if (trains[rate]) return values[rate] < (level + 100) / 2 ? "it gets past halfway, no further" : "it trains";
    if (trains.slice(0, rate).includes(true)) return "the step is too large";
    if (left < 0.01 && values[rate] > 1.5 * guessing) return `it learns a little, from the ${power(left)} of the signal that is left`;
    if (left < 0.01) return "the signal has died";
    return trains.includes(true) ? "the step is too small for so short a training" : "no rate here is right";
  }

  function say({ net, scale, rate, depth }, { factors, gains, accuracy }, { studies, level }) {
    const { hidden } = studies[net];
    const kept = net === "relu" || factors[0] < 1 || gains[scale] ** (depth - 1) < 1.5 ? "" :
      " (It takes a sigmoid for a line; sigmoids that saturate cannot pass on so much.)";
    const ends = ARMS.map((arm, i) => {
      const left = i ? 1 : gains[scale] ** (hidden - 1);
      return `${arm} ${accuracy[i] === null ? "it diverged" : percent(accuracy[i])}, ${fate(studies[net].accuracy[arm][scale], rate, left, level)}`;
    });
    return `Recorded, with ${hidden} hidden layers: ${ends.join("; ")}.
      By the formula each layer multiplies the signal by ${power(factors[0])}: layer ${depth} gets
      ${power(factors[0] ** (depth - 1))} times that of layer 1; with batch normalization, as much as layer 1.${kept}`;
  }

  bnWidgets.define("find-the-cliff", {
    title: "Where the signal dies, and where the step is too large",
    start: ({ studies }) => ({ net: "sigmoid", scale: 0, rate: 0, depth: studies.sigmoid.hidden }),
    change(state, name, value, { studies }) {
      if (name === "net") {
        // What was chosen stays, as nearly as the other study has it.
        const [old, study] = [studies[state.net], studies[value]];
        const kept = { scale: nearest(study.scales, old.scales[state.scale]), rate: nearest(study.rates, old.rates[state.rate]) };
        return { ...state, ...kept, net: value };
      }
      if (name === "cell") {
        const [scale, rate] = value.split(",").map(Number);
        return { ...state, scale, rate };
      }
      return { ...state, [name]: Number(value) };
    },
    listen(root, apply) {
      root.addEventListener("click", ({ target }) => {
        const cell = target.closest("[data-cell]");
        if (cell) apply("cell", cell.dataset.cell);
      });
    },
    ...{ numbers, view, say },
  });
  Object.assign(bnWidgets, { gain, growth });
})();
