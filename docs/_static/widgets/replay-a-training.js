/* Replay two trainings that the build has recorded, with and without batch normalization. */
(function () {
  "use strict";
  const { fixed, slider } = bnWidgets;
  const NAMES = ["without BN", "with BN"]; // drawn with class bn-a and bn-b

  /* What was seen of both networks at one frame. */
  function frame({ steps, arms }, i) {
    const at = (quantity) => NAMES.map((name) => arms[name][quantity][i]);
    return {
      ...{ step: steps[i], accuracy: at("accuracy") },
      ...{ activations: at("activations"), gradients: at("gradients") },
    };
  }

  /* A mark as in the figures: a circle without, a square with. */
  function mark(arm, x, y, size = 4) {
    if (arm === 0) return `<circle class="bn-a" cx="${x}" cy="${y}" r="${size}"/>`;
    return `<rect class="bn-b" x="${x - size}" y="${y - size}" width="${2 * size}" height="${2 * size}"/>`;
  }

  const [LEFT, RIGHT] = [36, 340];
  const label = (x, y, text, kind = "bn-middle") => `<text class="${kind}" x="${x}" y="${y}">${text}</text>`;

  /* Accuracy against the step, from 100 down to 20 units; a line where we are. */
  function accuracies({ steps, arms }, { step, accuracy }) {
    const across = (v) => LEFT + (v / steps.at(-1)) * (RIGHT - LEFT);
    const up = (v) => 100 - 80 * v;
    const lines = NAMES.map((name, arm) => {
      const points = steps.map((v, i) => `${across(v).toFixed(1)} ${up(arms[name].accuracy[i]).toFixed(1)}`);
      return `<path class="bn-line ${arm ? "bn-b" : "bn-a"}" d="M${points.join("L")}"/>`;
    });
    const levels = [0, 0.5, 1].map(
      (v) => `<path class="bn-grid" d="M${LEFT} ${up(v)}H${RIGHT}"/>${label(LEFT - 6, up(v) + 4, v, "bn-end")}`
    );
    return `${label(4, 11, "test accuracy", "")}${levels.join("")}
      <path class="bn-mean" d="M${across(step)} 20V100"/>${lines.join("")}
      ${accuracy.map((v, arm) => mark(arm, across(step), up(v), 5 - arm)).reverse().join("")}
      ${label(LEFT, 115, "0")}${label(RIGHT, 115, steps.at(-1))}${label((LEFT + RIGHT) / 2, 115, "step")}`;
  }

  /* The activations of the last hidden layer: their shares, side by side, from 210 up. */
  function histograms({ arms }, { activations }) {
    const most = Math.max(...NAMES.flatMap((name) => arms[name].activations.flat()));
    const parts = activations.map((shares, arm) => {
      const left = LEFT + 164 * arm;
      const width = 140 / shares.length;
      const bars = shares.map((share, i) => {
        const height = (60 * share) / most;
        return `<rect class="bn-bar ${arm ? "bn-b" : "bn-a"}" x="${(left + i * width).toFixed(1)}" y="${(210 - height).toFixed(1)}" width="${(width - 1).toFixed(1)}" height="${height.toFixed(1)}"/>`;
      });
      return `${bars.join("")}<path class="bn-axis" d="M${left} 210h140"/>
        ${label(left, 225, "0")}${label(left + 140, 225, "1")}${label(left + 70, 225, NAMES[arm])}`;
    });
    return `${label(4, 142, "activations of the last hidden layer", "")}${parts.join("")}`;
  }

  /* The gradients of the weights by layer, decades from low to high. */
  function sizes({ gradients }, [low, high]) {
    const layers = gradients[0].length;
    const across = (i) => LEFT + ((i + 0.5) / layers) * (RIGHT - LEFT);
    const up = (v) => 350 - (80 * (Math.log10(v) - low)) / (high - low);
    const decades = Array.from({ length: high - low + 1 }, (_, i) => low + i).filter((v) => (v - low) % 2 === 0);
    const grid = decades.map((v) => {
      const y = up(10 ** v);
      return `<path class="bn-grid" d="M${LEFT} ${y}H${RIGHT}"/>${label(LEFT - 6, y + 4, `1e${v}`, "bn-end")}`;
    });
    const marks = gradients.flatMap((values, arm) => values.map((v, i) => mark(arm, across(i) + 12 * arm - 6, up(v).toFixed(1))));
    const names = gradients[0].map((_, i) => label(across(i), 367, i + 1));
    return `${label(4, 252, "gradient of the weights", "")}${grid.join("")}${marks.join("")}${names.join("")}
      ${label((LEFT + RIGHT) / 2, 384, "layer")}`;
  }

  /* The powers of ten between which all recorded gradients lie. */
  function decades({ arms }) {
    const all = NAMES.flatMap((name) => arms[name].gradients.flat()).map(Math.log10);
    return [Math.floor(Math.min(...all)), Math.ceil(Math.max(...all))];
  }

  function view({ i }, numbers, data) {
    const rows = [
      ["test accuracy", ...numbers.accuracy.map((v) => `${fixed(100 * v, 1)} %`)],
      ...numbers.gradients[0].map((_, layer) => [
        `gradient, layer ${layer + 1}`,
        ...numbers.gradients.map((values) => values[layer].toExponential(1).replace("-", "\u2212")),
      ]),
    ].map(([name, ...values]) => `<tr><th scope="row">${name}</th>${values.map((v) => `<td>${v}</td>`).join("")}</tr>`);
    const heads = NAMES.map((name, arm) => `<th scope="col"><svg class="bn-key" viewBox="0 0 12 12" aria-hidden="true">${mark(arm, 6, 6, 5)}</svg> ${name}</th>`);
    return `<div class="bn-columns"><div class="bn-figure"><svg viewBox="0 0 360 390" role="img" aria-label="Three panels: test accuracy against the step; how the activations of the last hidden layer are distributed; the gradient of each layer's weights. The table has the numbers.">
      ${accuracies(data, numbers)}${histograms(data, numbers)}${sizes(numbers, decades(data))}</svg></div>
      <div class="bn-side"><div class="bn-controls bn-input">
      ${slider("i", "step", { min: 0, max: data.steps.length - 1, step: 1, value: i, text: String(numbers.step) })}</div>
      <table><thead><tr><td></td>${heads.join("")}</tr></thead><tbody>${rows.join("")}</tbody></table></div></div>`;
  }

  function say(_, { step, accuracy, gradients }) {
    const [without, withBN] = accuracy.map((v) => `${fixed(100 * v, 1)} %`);
    const ratio = gradients[1][0] / gradients[0][0];
    return `${step ? `After ${step} steps` : "Before the first step"} the network without batch normalization classifies
      ${without} of the test images correctly, the one with it ${withBN}. The gradient of its first
      layer is ${Number(ratio.toPrecision(2))} times as large.`;
  }

  bnWidgets.define("replay-a-training", {
    title: "Replay a training",
    start: () => ({ i: 0 }),
    numbers: ({ i }, data) => frame(data, i),
    change: (_, name, value) => ({ [name]: Number(value) }),
    ...{ view, say },
  });
})();
