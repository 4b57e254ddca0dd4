/* Walk the graph of batch normalization: forward, then backward, one node at a time.

   The names are those of the notation table and of bn_tutorial.scratch.functional. The equation and
   the line of code of a node are pieces of the page, which the build has made. */
(function () {
  "use strict";
  const { fixed, slider } = bnWidgets;
  const sum = (values) => values.reduce((total, v) => total + v, 0);
  const list = (value) => [].concat(value); // a number has a list of one
  const times = (values, by) => list(values).map((v, i) => v * (by[i] ?? by));

  /* The value of every node, and its gradient. */
  function numbers({ x, dy, gamma, beta, exponent }) {
    const [m, eps] = [x.length, Number(`1e${exponent}`)];
    const mu = sum(x) / m;
    const xmu = x.map((v) => v - mu);
    const variance = sum(times(xmu, xmu)) / m;
    const r = 1 / Math.sqrt(variance + eps);
    const xhat = times(xmu, r);
    const y = xhat.map((v) => gamma * v + beta);
    const dbeta = sum(dy);
    const dgamma = sum(times(dy, xhat));
    const dxhat = times(dy, gamma);
    const dr = sum(times(dxhat, xmu));
    const dvar = -0.5 * r ** 3 * dr;
    const [direct, spread] = [times(dxhat, r), times(xmu, (2 / m) * dvar)]; // the two ways to x - mu
    const dxmu = direct.map((v, i) => v + spread[i]);
    const dmu = -sum(dxmu);
    const dx = dxmu.map((v) => v + dmu / m);
    return {
      ...{ m, eps, x, gamma, beta, mu, xmu, var: variance, r, xhat, y, direct, spread },
      ...{ dy, dbeta, dgamma, dxhat, dr, dvar, dxmu, dmu, dx },
    };
  }

  // The node of each step, and what happens there; the first shows the whole.
  const WHOLE = `What is computed from what, and beside each arrow its slope: how much its tip changes with its start.
    The gradient comes back against the arrows: each multiplies it by its slope, and where several leave a
    node, what comes back along them is added.`;
  const STEPS = [
    ["", WHOLE],
    ["mu", "All samples share one mean: here they meet."],
    ["xmu", "Subtract it from each value; what is left adds up to zero."],
    ["var", "The mean of the squares, the variance, says how far the values lie apart."],
    ["r", "One over its root; ε keeps that finite when all values are equal."],
    ["xhat", "Multiply each by r: as long as ε is small, the variance is now almost 1."],
    ["y", "Then γ chooses a new spread, and β a new mean."],
    ["dy", "Now turn round: the layers above give us dy, how the loss changes with each output."],
    ["dbeta", "β is added to each output, with slope 1: its gradient is the sum of all dy."],
    ["dgamma", "γ enters each output with slope x̂: multiply each dy by it, and add."],
    ["dxhat", "Each x̂ feeds its own y alone, with slope γ: multiply; there is nothing to add."],
    ["dr", "One r serves all samples: multiply by each slope, and add what comes back from all."],
    ["dvar", "σ² feeds r alone; the slope is negative, because r falls when the variance grows."],
    ["dxmu", "Two ways out: what comes back through x̂ and through σ² is added."],
    ["dmu", "μ is subtracted from each value: slope −1, and a sum over the samples again."],
    ["dx", "Two ways out again, straight to x − μ and through the mean; all dx add up to zero."],
  ];
  const NAMES = STEPS.map(([name]) => name);
  const [TURN, LAST] = [NAMES.indexOf("dy"), NAMES.length - 1];

  /* The step of a node, the way one is going, or back again for the node in hand. */
  function stepOf(name, at) {
    const [there, back] = [Math.max(0, NAMES.indexOf(name)), NAMES.indexOf(`d${name}`)];
    return back < 0 || (at < TURN && there > 0 && at !== there) || at === back ? there : back;
  }

  // Nodes: left, top, width, text; "^" puts a hat on what follows, at the place given last.
  const NODES = {
    x: [4, 6, 172, "x"],
    mu: [220, 40, 176, "μ = mean of x"],
    xmu: [4, 104, 172, "x − μ"],
    var: [220, 124, 176, "σ² = mean of (x − μ)²"],
    r: [220, 226, 176, "r = 1 / √(σ² + ε)"],
    xhat: [4, 262, 172, "^x = (x − μ) · r", 38],
    y: [4, 366, 172, "y = γ · ^x + β", 89],
    gamma: [300, 322, 96, "γ"],
    beta: [300, 396, 96, "β"],
  };
  // Arrows: from, to, path, slope and its place. Where two leave a node, the straight one is first.
  const ARROWS = [
    ["x", "xmu", "M90 64V104", "1", 80, 88, "bn-end"],
    ["x", "mu", "M176 32 220 50", "1/m", 202, 16, ""],
    ["mu", "xmu", "M220 86 176 114", "−1", 200, 118, ""],
    ["xmu", "xhat", "M90 162V262", "r", 80, 206, "bn-end"],
    ["xmu", "var", "M176 140 220 150", "2(x − μ)/m", 214, 180, "bn-end"],
    ["var", "r", "M308 182V226", "−r³/2", 318, 200, ""],
    ["r", "xhat", "M220 262 176 282", "x − μ", 184, 308, ""],
    ["xhat", "y", "M90 320V366", "γ", 80, 340, "bn-end"],
    ["gamma", "y", "M300 356 176 386", "^x", 232, 362, ""],
    ["beta", "y", "M300 424 176 408", "1", 232, 434, ""],
  ];

  function write(text, x, y, anchor = "bn-middle") {
    const put = (part, at, where) => `<text class="bn-tex ${where}" x="${at}" y="${y}">${part
      .trim()
      .replace(/mean of|\d+/g, '<tspan class="bn-upright">$&</tspan>')}</text>`;
    const [before, after] = text.split("^");
    if (after === undefined) return put(text, x, anchor);
    return `${before && put(before, x - 5, "bn-end")}${put(after, x, "")}
      <path class="bn-hat" d="M${x} ${y - 11}l5 -5 5 5"/>`;
  }

  /* A number in at most six signs, as long as it is not beyond all bounds. */
  function brief(v) {
    const size = Math.abs(v);
    if (size < 1e-12) return "0.00";
    if (size >= 1000 || size < 0.005) return v.toExponential(0).replace("e+", "e").replace(/-/g, "−");
    return fixed(v, size < 10 ? 2 : size < 100 ? 1 : 0);
  }

  // Groups hold what comes and goes, so that all else stays the element that it is.
  function row(value, width, y, kind = "") {
    const values = list(value);
    const place = (i) => (width * (2 * i + 1)) / (2 * values.length);
    const texts = values.map((v, i) => `<text class="bn-middle ${kind}" x="${place(i)}" y="${y}">${brief(v)}</text>`);
    return `<g>${texts.join("")}</g>`;
  }

  function node(name, at, n) {
    const [left, top, width, text, hat] = NODES[name];
    const [known, back] = [name, `d${name}`].map((key) => at >= Math.max(1, NAMES.indexOf(key)));
    const now = NAMES[at] === name || NAMES[at] === `d${name}`;
    const many = list(n[name]).length > 1;
    const shape = many ? "one for each sample" : width > 100 ? "one for the batch" : "";
    const still = `<g><text class="bn-middle" x="${width / 2}" y="46">${shape}</text></g>`;
    return `<g data-node="${name}" transform="translate(${left} ${top})"><rect class="bn-node${now ? " bn-now" : ""}" width="${width}"
      height="58" rx="8"/><g>${write(text, hat ?? width / 2, known ? 19 : shape ? 26 : 35)}</g>
      ${known ? row(n[name], width, 36) : still}<g>${back ? row(n[`d${name}`], width, 52, "bn-grad") : ""}</g></g>`;
  }

  function arrow([from, to, path, slope, x, y, anchor], at, n) {
    const [forward, back] = [NAMES[at] === to, NAMES[at] === `d${from}`];
    const passed = at >= NAMES.indexOf(`d${from}`); // the gradient has come back along it
    const second = back && ["mu", "var"].includes(to);
    const size = { "1/m": 1 / n.m, r: n.r, γ: n.gamma, "−r³/2": -(n.r ** 3) / 2 }[slope];
    const kind = `${forward ? " bn-lit" : ""}${passed ? " bn-back" : ""}${back ? " bn-now" : ""}${second ? " bn-second" : ""}`;
    const tips = passed ? 'marker-start="url(#bn-back)"' : 'marker-end="url(#bn-tip)"';
    const told = back && size !== undefined ? `<text class="${anchor}" x="${x}" y="${y + 16}">${brief(size)}</text>` : "";
    return `<g><path class="bn-arrow${kind}" d="${path}" ${tips}/>
      <g class="bn-slope${passed ? " bn-back" : ""}${back ? " bn-lit" : ""}">${write(slope, x, y, anchor)}<g>${told}</g></g></g>`;
  }

  const tip = (id) => `<marker id="${id}" viewBox="0 0 8 8" refX="8" refY="4" markerUnits="userSpaceOnUse"
    markerWidth="11" markerHeight="11" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker>`;

  const picture = (at, n) => `<svg viewBox="0 0 400 458" role="img" aria-label="The computational graph of batch normalization, with an operation in each node and a slope on each arrow. The input x leads to its mean mu with slope 1 over m, and to x minus mu with slope 1; mu leads to x minus mu with slope minus 1. From there one arrow leads to the variance with slope 2 times x minus mu over m, and one to x-hat with slope r. The variance leads to r with slope minus r cubed over 2, and r to x-hat with slope x minus mu. The output y is reached from x-hat with slope gamma, from gamma with slope x-hat and from beta with slope 1.">
    <defs>${tip("bn-tip")}${tip("bn-back")}</defs>
    ${ARROWS.map((one) => arrow(one, at, n)).join("")}${Object.keys(NODES).map((name) => node(name, at, n)).join("")}</svg>`;

  /* What is calculated at a node: heads, and rows of [name, cells, bars]; a bar is [from, to]. */
  function calculation(name, n) {
    const table = (heads, ...columns) => {
      const count = Math.max(...columns.map((column) => list(column).length));
      const rows = Array.from({ length: count }, (_, i) => columns.map((column) => column[i] ?? column));
      const named = rows.map((cells, i) => [count > 1 ? i + 1 : "batch", cells, [[0, cells.at(-1)]]]);
      return { heads, rows: named };
    };
    const mean = ({ heads, rows }, head, value) => ({ heads, rows: [...rows, [head, [value], [[0, value]]]] });
    // Contributions stand head to tail: those of the samples below each other, or those of two ways.
    const added = ({ heads, rows }, head, value) => {
      const ends = rows.map((_, i) => sum(rows.slice(0, i + 1).map(([, cells]) => cells.at(-1))));
      const running = rows.map(([i, cells], j) => [i, cells, [[ends[j - 1] ?? 0, ends[j]]]]);
      return { ...mean({ heads, rows: running }, `sum: ${head}`, value), adds: true };
    };
    const ways = ({ heads, rows }) => ({
      ...{ heads, adds: true },
      rows: rows.map(([i, cells]) => [i, cells, [[0, cells[0]], [cells[0], cells[2]]]]),
    });
    const [square, byGamma] = [times(n.xmu, n.xmu), times(n.dy, n.xhat)];
    const [byR, byMu] = [times(n.dxhat, n.xmu), times(n.dxmu, -1)];
    return {
      "": () => table(["x"], n.x),
      mu: () => mean(table(["x"], n.x), "mean: μ", n.mu),
      xmu: () => table(["x", "x − μ"], n.x, n.xmu),
      var: () => mean(table(["x − μ", "squared"], n.xmu, square), "mean: σ²", n.var),
      r: () => table(["σ²", "ε", "r"], n.var, n.eps, n.r),
      xhat: () => table(["x − μ", "x̂"], n.xmu, n.xhat),
      y: () => table(["x̂", "y"], n.xhat, n.y),
      dy: () => table(["dy"], n.dy),
      dbeta: () => added(table(["dy"], n.dy), "dβ", n.dbeta),
      dgamma: () => added(table(["dy", "slope", "product"], n.dy, n.xhat, byGamma), "dγ", n.dgamma),
      dxhat: () => table(["dy", "dx̂"], n.dy, n.dxhat),
      dr: () => added(table(["dx̂", "slope", "product"], n.dxhat, n.xmu, byR), "dr", n.dr),
      dvar: () => table(["dr", "dσ²"], n.dr, n.dvar),
      dxmu: () => ways(table(["by x̂", "by σ²", "sum"], n.direct, n.spread, n.dxmu)),
      dmu: () => added(table(["d(x − μ)", "times −1"], n.dxmu, byMu), "dμ", n.dmu),
      dx: () => ways(table(["by x − μ", "by μ", "sum"], n.dxmu, n.dmu / n.m, n.dx)),
    }[name]();
  }

  function worked(name, n) {
    const { heads, rows, adds } = calculation(name, n);
    const ends = rows.flatMap(([, , bars]) => bars.flat());
    const [low, high] = [Math.min(0, ...ends), Math.max(0, ...ends)];
    const place = (v) => 2 + (96 * (v - low)) / (high - low || 1);
    // A bar points to where it ends: to the right if it adds, to the left if it takes away.
    const bar = ([from, to], i, { length }) => {
      const [start, end] = [place(from), place(to)];
      const neck = end - Math.sign(end - start) * Math.min(6, Math.abs(end - start));
      const [y, half] = length > 1 ? [2 + 8 * i, 3] : [5, 4];
      const [x, shoulder, tip] = [start, neck, end].map((v) => v.toFixed(1));
      return `<path class="bn-bit${i ? " bn-second" : ""}" d="M${x} ${y}H${shoulder}L${tip} ${y + half}L${shoulder} ${y + 2 * half}H${x}Z"/>`;
    };
    const body = rows.map(
      ([head, cells, bars]) => `<tr><th scope="row" colspan="${1 + heads.length - cells.length}">${head}</th>
        ${cells.map((v) => `<td>${brief(v)}</td>`).join("")}<td class="bn-bits"><svg viewBox="0 0 100 18"
        preserveAspectRatio="none" aria-hidden="true"><path class="bn-axis" d="M${place(0)} 0V18"/>
        ${bars.map(bar).join("")}<path class="bn-sum" d="M${place(bars.at(-1)[1])} 1V17"/></svg></td></tr>`
    );
    const head = heads.map((text) => `<th scope="col">${text}</th>`).join("");
    const kind = NAMES.indexOf(name) < TURN ? "bn-work bn-forward" : "bn-work";
    return `<div class="${kind}"><table><thead><tr><th scope="col">sample</th>${head}
      ${adds ? '<th scope="col" class="bn-bits">added</th>' : '<td class="bn-bits"></td>'}</tr></thead>
      <tbody>${body.join("")}</tbody></table></div>`;
  }

  function view({ at, x, dy, gamma, beta, exponent }, n) {
    const one = (name, label, value, limits) =>
      slider(name, label, { step: 0.1, value, text: fixed(value, 1), ...limits });
    const each = (kind, values, limits) =>
      values.map((v, i) => one(`${kind}${i}`, `${kind}<sub>${i + 1}</sub>`, v, limits)).join("");
    const button = (go, text, idle) => `<button type="button" data-go="${go}" aria-disabled="${idle}">${text}</button>`;
    return `<div class="bn-go bn-input">${button(-1, "‹ Back", !at)} ${button(1, "Next ›", at === LAST)}
      ${button("start", "Start again", !at)}</div>
      <div class="bn-columns"><div class="bn-figure">${picture(at, n)}</div>
      <div class="bn-side">${worked(NAMES[at], n)}
      <fieldset class="bn-choice bn-pairs bn-input"><legend>Change the numbers</legend>
      ${each("x", x, { min: -2, max: 6 })}${each("dy", dy, { min: -2, max: 2 })}
      ${one("gamma", "γ", gamma, { min: -2, max: 2 })}${one("beta", "β", beta, { min: -2, max: 2 })}
      ${one("exponent", "ε", exponent, { min: -5, max: 0, step: 1, text: `1e${exponent}` })}</fieldset></div></div>
      <p class="bn-legend">In a node: its values, samples 1 to 4 from left to right; in bold below
      them, their gradients. <span class="bn-input">The arrow keys go on and back, too. Press a node
      to go to its step, once more for its step the other way.</span></p>`;
  }

  function change(state, name, value) {
    const [, kind, i] = name.match(/^(x|dy)(\d+)$/) ?? [];
    if (kind) return { ...state, [kind]: state[kind].map((v, j) => (j === Number(i) ? Number(value) : v)) };
    if (name === "node") return { ...state, at: stepOf(value, state.at) };
    if (name === "start") return { ...state, at: 0 };
    if (name !== "go") return { ...state, [name]: Number(value) };
    return { ...state, at: Math.min(LAST, Math.max(0, state.at + value)) };
  }

  /* Buttons, nodes, arrow keys while the graph is seen and nothing else needs them, and a finger
     that strokes it. */
  function listen(root, apply) {
    let start = null;
    const graph = root.querySelector(".bn-figure");

    function isSeen() {
      const { top, bottom } = graph.getBoundingClientRect();
      return Math.min(bottom, innerHeight) - Math.max(top, 0) > (bottom - top) / 2;
    }

    root.addEventListener("click", ({ target }) => {
      const { go } = target.dataset;
      const node = target.closest("[data-node]")?.dataset.node;
      if (node) apply("node", node);
      else if (go) apply(go === "start" ? go : "go", Number(go));
    });
    document.addEventListener("keydown", (event) => {
      const go = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const { activeElement: focused } = document;
      const free = focused === document.body ? isSeen() : root.contains(focused) && !focused.matches("input");
      if (!go || !free || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      apply("go", go);
    });
    root.addEventListener("pointerdown", (event) => {
      start = event.pointerType !== "mouse" && event.target.closest(".bn-figure") ? event : null;
    });
    root.addEventListener("pointerup", ({ clientX, clientY }) => {
      const [across, down] = start ? [clientX - start.clientX, clientY - start.clientY] : [0, 0];
      if (Math.abs(across) > Math.max(30, 2 * Math.abs(down))) apply("go", across < 0 ? 1 : -1);
      start = null;
    });
  }

  bnWidgets.define("walk-the-graph", {
    title: "Walk the graph, forward and back",
    leads: true,
    start: (data) => ({ at: 0, ...data }),
    piece: ({ at }) => NAMES[at],
    say({ at }) {
      const where = at < TURN ? `Forward, ${at} of ${TURN - 1}.` : `Backward, ${at - TURN + 1} of ${STEPS.length - TURN}.`;
      return `${at ? `<strong>${where}</strong> ` : ""}${STEPS[at][1]}`;
    },
    ...{ numbers, view, change, listen },
  });
})();
