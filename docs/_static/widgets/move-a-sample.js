/* Move one value of a batch, and see what becomes of all outputs and gradients.

   The names are those of the notation table and of bn_tutorial.functional. */
(function () {
  "use strict";
  const { fixed, slider, choice, menu } = bnWidgets;
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const mean = (values) => sum(values) / values.length;

  /* Training mode: one channel, normalized with its own mean and biased variance. */
  function forward(x, gamma, beta, eps) {
    const mu = mean(x);
    return standardized(x, gamma, beta, eps, mu, mean(x.map((v) => (v - mu) ** 2)));
  }

  /* Evaluation mode is the same with given statistics. */
  function standardized(x, gamma, beta, eps, mu, variance) {
    const r = 1 / Math.sqrt(variance + eps);
    const xhat = x.map((v) => (v - mu) * r);
    return { mu, variance, r, gamma, xhat, y: xhat.map((v) => gamma * v + beta) };
  }

  /* The gradient in training: without its mean, and without its part along xhat. */
  function backward(dy, { xhat, r, gamma }) {
    const [ones, along] = [mean(dy), mean(dy.map((v, i) => v * xhat[i]))];
    return dy.map((v, i) => gamma * r * (v - ones - xhat[i] * along));
  }

  /* The gradient in evaluation: the statistics are constants. */
  const evalBackward = (dy, { r, gamma }) => dy.map((v) => gamma * r * v);

  // The picture, in units of its view box: a row for each sample; x and y to the left on one
  // axis, the gradient to the right.
  const [LEFT, RIGHT, TOP, ROW, ZERO, HALF, LIMIT] = [34, 234, 30, 36, 308, 40, 4];
  const place = (v) => LEFT + ((v + LIMIT) / (2 * LIMIT)) * (RIGHT - LEFT);
  const inside = (v) => Math.max(-LIMIT, Math.min(LIMIT, v));

  /* 1, 2 or 5 times a power of ten, not below a value. */
  function round(value) {
    const power = 10 ** Math.floor(Math.log10(Math.max(value, 0.1)));
    return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
  }

  function output(v) {
    if (Math.abs(v) > LIMIT) {
      // It lies beyond the axis: a head that points there.
      const tip = Math.sign(v) * 7;
      return `<path class="bn-y" d="M${tip} 0L${-tip} -7L${-tip} 7Z"/>`;
    }
    return `<path class="bn-y" d="M-5 -5H5V5H-5Z"/>`;
  }

  function row(i, { x, y, dx, dy }, limit) {
    const middle = TOP + ROW * (i + 0.5);
    const [from, to] = [place(x[i]), place(inside(y[i]))];
    const width = (HALF * Math.abs(dx[i])) / limit;
    return `<text x="4" y="${middle + 4}">x<tspan dy="3" class="bn-small">${i + 1}</tspan></text>
      <path class="bn-grid" d="M${LEFT} ${middle}H${RIGHT}"/>
      <path class="bn-link" d="M${from} ${middle}H${to}"/>
      <circle class="bn-x" cx="${from}" cy="${middle}" r="9"/>
      <g class="bn-moves" transform="translate(${to} ${middle})">${output(y[i])}</g>
      ${dy[i] ? `<rect class="bn-chosen" x="${ZERO - HALF - 3}" y="${middle - 14}" width="${2 * HALF + 6}" height="28"/>` : ""}
      <rect class="bn-dx" x="${dx[i] < 0 ? ZERO - width : ZERO}" y="${middle - 6}" width="${width}" height="12"/>`;
  }

  function picture(numbers) {
    const { x, mu, variance, dx } = numbers;
    const [bottom, deviation] = [TOP + ROW * x.length, Math.sqrt(variance)];
    const limit = round(Math.max(...dx.map(Math.abs)));
    const [low, high] = [place(inside(mu - deviation)), place(inside(mu + deviation))];
    const ticks = [-4, -2, 0, 2, 4].map(
      (v) => `<path class="bn-axis" d="M${place(v)} ${bottom}v4"/>
        <text class="bn-middle" x="${place(v)}" y="${bottom + 17}">${fixed(v, 0)}</text>`
    );
    const written = (v) =>
      limit < 1000 ? fixed(v, limit < 1 ? 1 : 0) : v && v.toExponential(0).replace("e+", "e").replace("-", "\u2212");
    const ends = [-limit, 0, limit].map(
      (v) => `<text class="bn-middle" x="${ZERO + (HALF * v) / limit}" y="${bottom + 17}">${written(v)}</text>`
    );
    return `<svg viewBox="0 0 360 ${bottom + 40}" role="img" aria-label="For each sample its input, its output and its gradient: the values of the table.">
      <rect class="bn-band" x="${low}" y="${TOP}" width="${high - low}" height="${bottom - TOP}"/>
      <path class="bn-mean" d="M${place(mu)} ${TOP}V${bottom}"/>
      <text class="bn-middle" x="${place(mu)}" y="${TOP - 6}">mean</text>
      <text class="bn-middle" x="${ZERO}" y="${TOP - 6}">dx</text>
      <path class="bn-axis" d="M${LEFT} ${bottom}H${RIGHT}M${ZERO - HALF} ${bottom}H${ZERO + HALF}M${ZERO} ${TOP}V${bottom}"/>
      ${ticks.join("")}${ends.join("")}${x.map((_, i) => row(i, numbers, limit)).join("")}
      <circle class="bn-x" cx="62" cy="${bottom + 30}" r="6"/><text x="74" y="${bottom + 34}">input x</text>
      <path class="bn-y" d="M142 ${bottom + 25}h10v10h-10Z"/><text x="158" y="${bottom + 34}">output y</text>
      <rect class="bn-chosen" x="270" y="${bottom + 24}" width="18" height="12"/><text x="294" y="${bottom + 34}">dy = 1</text>
    </svg>`;
  }

  function table({ x, y, dy, dx }) {
    const lines = x.map(
      (v, i) => `<tr><th scope="row">${i + 1}</th>${[v, y[i], dy[i], dx[i]]
        .map((value, column) => `<td>${fixed(value, column === 2 ? 0 : 2)}</td>`)
        .join("")}</tr>`
    );
    return `<table><thead><tr><th scope="col">sample</th><th scope="col">x</th><th scope="col">y</th>
      <th scope="col">dy</th><th scope="col">dx</th></tr></thead><tbody>${lines.join("")}</tbody></table>`;
  }

  function view(state, numbers) {
    const { gamma, beta, exponent, mode, upstream, x } = state;
    const inputs = x.map(
      (v, i) => `<input type="range" name="x${i}" min="${-LIMIT}" max="${LIMIT}" step="0.1"
        value="${v}" aria-label="x of sample ${i + 1}">`
    );
    const each = x.map((_, i) => [String(i), `sample ${i + 1} alone`]);
    return `<div class="bn-columns"><div class="bn-figure">${picture(numbers)}
      <div class="bn-rows bn-input">${inputs.join("")}</div></div>
      <div class="bn-side"><div class="bn-controls bn-input">
      ${choice("mode", "Mode", [["train", "training"], ["eval", "evaluation"]], mode)}
      ${slider("gamma", "γ, scale", { min: 0, max: 2, step: 0.1, value: gamma, text: fixed(gamma, 1) })}
      ${slider("beta", "β, shift", { min: -2, max: 2, step: 0.1, value: beta, text: fixed(beta, 1) })}
      ${slider("exponent", "ε", { min: -8, max: 0, step: 1, value: exponent, text: `1e${exponent}` })}
      ${menu("upstream", "dy is 1 for", [...each, ["all", "every sample"]], upstream)}
      </div>${table(numbers)}</div></div>`;
  }

  function say({ mode, upstream }, { mu, variance, y, dx }) {
    const [center, total] = [mean(y), fixed(sum(dx))];
    const spread = fixed(mean(y.map((v) => (v - center) ** 2)));
    const statistics =
      mode === "train"
        ? `Training: the batch has mean ${fixed(mu)} and variance ${fixed(variance)}.`
        : `Evaluation: the running mean ${fixed(mu)} and variance ${fixed(variance)} stand still.`;
    const who =
      upstream === "all"
        ? `The greatest dx is ${fixed(Math.max(...dx.map(Math.abs)))} in size`
        : `Sample ${Number(upstream) + 1} has dx = ${fixed(dx[upstream])}`;
    const others = dx.filter((v, i) => String(i) !== upstream && Math.abs(v) > 1e-9).length;
    const some = others === dx.length - 1 ? "all the others" : `${others} of the others`;
    const rest = others ? `${some} get a gradient too` : "no other gets any";
    return `${statistics} The outputs have mean ${fixed(center)} and variance ${spread}.
      ${who}${upstream === "all" ? "" : `, ${rest}`}; all dx add up to ${total}.`;
  }

  bnWidgets.define("move-a-sample", {
    title: "Move a sample, watch the batch",
    start: ({ x, gamma, beta, exponent }) => ({ x, gamma, beta, exponent, mode: "train", upstream: "0" }),
    numbers({ x, gamma, beta, exponent, mode, upstream }, { running_mean, running_var }) {
      const eps = Number(`1e${exponent}`);
      const training = mode === "train";
      const cache = training
        ? forward(x, gamma, beta, eps)
        : standardized(x, gamma, beta, eps, running_mean, running_var);
      const dy = x.map((_, i) => (upstream === "all" || upstream === String(i) ? 1 : 0));
      const dx = training ? backward(dy, cache) : evalBackward(dy, cache);
      return { x, dy, dx, ...cache };
    },
    change(state, name, value) {
      if (/^x\d+$/.test(name)) {
        return { ...state, x: state.x.map((v, i) => (name === `x${i}` ? Number(value) : v)) };
      }
      const text = name === "mode" || name === "upstream";
      return { ...state, [name]: text ? value : Number(value) };
    },
    view,
    say,
  });
  Object.assign(bnWidgets, { forward, standardized, backward, evalBackward });
})();
