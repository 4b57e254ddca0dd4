/* A batch of three values is one point in space: turn it, move it, and see what batch normalization
   does to it, and to a gradient. The names are those of the notation table. */
(function () {
  "use strict";
  const { fixed, slider, choice, menu } = bnWidgets;
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const mean = (values) => sum(values) / values.length;
  const dot = (a, b) => sum(a.map((v, i) => v * b[i]));
  const size = (values) => Math.sqrt(dot(values, values));
  const plus = (a, b, times = 1) => a.map((v, i) => v + times * b[i]);

  /* One channel, beta = 0: forward, and the gradient's two projections on its way back. */
  function normalize(x, dy, gamma, eps) {
    const mu = mean(x);
    const xmu = x.map((v) => v - mu);
    const variance = mean(xmu.map((v) => v * v));
    const r = 1 / Math.sqrt(variance + eps);
    const xhat = xmu.map((v) => v * r);
    const level = dy.map((v) => v - mean(dy)); // the mean is removed
    const tangent = plus(level, xhat, -mean(dy.map((v, i) => v * xhat[i]))); // and what is along xhat
    const dx = tangent.map((v) => gamma * r * v);
    return { mu, variance, r, kappa: eps * r * r, xmu, xhat, y: xhat.map((v) => gamma * v), level, tangent, dx };
  }

  const LIMIT = 2; // of a sample
  const LONGEST = 1.9; // arrow dx that is drawn
  const UPSTREAM = {
    mixed: ["0.8, −0.2, 0.9", () => [0.8, -0.2, 0.9]],
    first: ["1 for sample 1 alone", () => [1, 0, 0]],
    ones: ["1 for every sample", () => [1, 1, 1]],
    along: ["x̂ itself", (xhat) => xhat],
  };

  function numbers({ x, gamma, exponent, upstream }) {
    const eps = Number(`1e${exponent}`);
    const { xhat } = normalize(x, x, gamma, eps);
    const dy = UPSTREAM[upstream][1](xhat);
    return { x, dy, ...normalize(x, dy, gamma, eps) };
  }

  // The drawing, in units of its view box. Up is the direction of the ones; the other two axes lie
  // in the plane of all batches whose mean is zero.
  const [WIDTH, HEIGHT, UNIT, LEFT, TOP] = [360, 340, 48, 180, 176]; // the last two: the centre
  const UP = [1, 1, 1].map((v) => v / Math.sqrt(3));
  const FRONT = [2, -1, -1].map((v) => v / Math.sqrt(6));
  const SIDE = [0, 1, -1].map((v) => v / Math.sqrt(2));

  /* Where a point in space is seen. */
  function camera({ turn, tilt }) {
    const [t, up] = [(turn * Math.PI) / 180, (tilt * Math.PI) / 180];
    return (point) => {
      const [a, b] = [dot(point, FRONT), dot(point, SIDE)];
      const [right, away] = [a * Math.cos(t) - b * Math.sin(t), a * Math.sin(t) + b * Math.cos(t)];
      const raised = away * Math.sin(up) + dot(point, UP) * Math.cos(up);
      return [LEFT + UNIT * right, TOP - UNIT * raised];
    };
  }

  const written = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  const line = (kind, ...places) => `<path class="${kind}" d="M${places.map(written).join("L")}"/>`;

  /* A line with a head. */
  function arrow(kind, from, to) {
    const along = plus(to, from, -1);
    const length = size(along);
    if (length < 1) return "";
    const [dx, dy] = along.map((v) => (v / length) * Math.min(11, length));
    const [back, across] = [plus(to, [dx, dy], -1), [-0.42 * dy, 0.42 * dx]];
    const head = [to, plus(back, across), plus(back, across, -1)].map(written).join("L");
    return `${line(`bn-ray ${kind}`, from, back)}<path class="bn-head ${kind}" d="M${head}Z"/>`;
  }

  /* A name beyond the tip of an arrow: [words, its middle]. */
  function name(words, from, to) {
    const along = plus(to, from, -1);
    const [x, y] = plus(to, along, 13 / Math.max(size(along), 1));
    const aside = x < from[0] - 8 ? -1 : x < from[0] + 8 ? 0 : 1;
    return [words, [x + (aside * widthOf(words)) / 2, y]];
  }

  const widthOf = (words) => 7 * words.replace(/<[^>]*>/g, "").length;

  /* Names within the drawing, none over another or over a mark: one that would be moves to the nearest
     free place. */
  function names(list, marks) {
    const taken = marks.map((at) => [at, 12]); // middles and widths
    const isFree = ([x, y], width) =>
      y > 8 && y < HEIGHT - 24 && taken.every(([[left, top], w]) => Math.abs(left - x) > (w + width) / 2 || Math.abs(top - y) > 13);
    const ways = [0, 8, 14, 20, 26, 32].flatMap((far) =>
      Array.from({ length: far ? 16 : 1 }, (_, i) => [far * Math.cos((i * Math.PI) / 8), far * Math.sin((i * Math.PI) / 8)])
    );
    const texts = list.map(([words, [across, down]]) => {
      const width = widthOf(words);
      const at = [between(width / 2, WIDTH - width / 2, across), down];
      const [x, y] = plus(at, ways.find((way) => isFree(plus(at, way), width)) ?? [0, 0]);
      taken.push([[x, y], width]);
      return `<text class="bn-halo bn-middle" x="${x.toFixed(1)}" y="${(y + 4).toFixed(1)}">${words}</text>`;
    });
    return texts.join("");
  }

  /* A circle in the plane; its half that is nearer to us is thicker. */
  function rim(radius, tilt, kind) {
    const [x, y] = [UNIT * radius, UNIT * radius * Math.sin((tilt * Math.PI) / 180)];
    const half = (sweep) => `M${LEFT - x} ${TOP}a${x} ${y} 0 0 ${sweep} ${2 * x} 0`;
    return `<path class="${kind}" d="${half(1)}"/><path class="${kind} bn-near" d="${half(0)}"/>`;
  }

  // Each of the following: what is drawn, then the names.

  /* What both ways need: x, and xhat. */
  function points({ x, xhat, dx }, at) {
    const [origin, place, tip] = [at([0, 0, 0]), at(x), at(xhat)];
    const aside = plus(place, at(plus(x, dx)), -1); // the name goes where dx does not
    const beside = size(aside) > 1 ? plus(place, aside, 16 / size(aside)) : plus(place, [0, -14]);
    const drawn = `${arrow("bn-b", origin, tip)}<circle class="bn-x" cx="${place[0].toFixed(1)}" cy="${place[1].toFixed(1)}" r="6"/>`;
    return [drawn, ["x", beside], ["x̂", plus(tip, [0, 17])]];
  }

  function forward({ x, xmu, y }, at) {
    const [flat, [outX, outY]] = [at(xmu), at(y)];
    const drawn = `${line("bn-link", at(x), flat)}${line("bn-b bn-ray bn-fine", at([0, 0, 0]), [outX, outY])}
      <circle class="bn-x" cx="${flat[0].toFixed(1)}" cy="${flat[1].toFixed(1)}" r="4"/>
      <path class="bn-y" d="M${written([outX - 5, outY - 5])}h10v10h-10Z"/>`;
    return [drawn, ["y", [outX + 13, outY]], ["x − μ", plus(flat, [-26, 12])]];
  }

  function backward({ x, xhat, dy, level, tangent, dx }, at) {
    const [foot, place] = [at(xhat), at(x)];
    const [tip, flat, left] = [dy, level, tangent].map((v) => at(plus(xhat, v)));
    const end = at(plus(x, dx, Math.min(1, LONGEST / Math.max(size(dx), 1e-9))));
    const drawn = `${line("bn-link", tip, flat, left)}${arrow("bn-up", foot, tip)}
      ${arrow("bn-slim bn-d", foot, left)}${arrow("bn-d", place, end)}`;
    return [
      ...[drawn, name("dy", foot, tip)],
      ...(size(tangent) > 0.1 ? [name("P dy", foot, left)] : []),
      ...(size(dx) > 0.005 ? [name(size(dx) > LONGEST ? "dx (longer)" : "dx", place, end)] : []),
    ];
  }

  function picture(state, numbers) {
    const at = camera(state);
    const origin = at([0, 0, 0]);
    const tips = [0, 1, 2].map((i) => at([0, 1, 2].map((j) => (i === j ? 2.3 : 0))));
    const axes = tips.map((tip, i) => name(`x<tspan dy="3" class="bn-small">${i + 1}</tspan>`, origin, tip));
    const ones = at(UP.map((v) => 2.9 * v));
    const inside = size(numbers.xhat);
    const flat = UNIT * 2.6;
    const [seen, ...here] = points(numbers, at);
    const [there, ...ahead] = state.show === "backward" ? [""] : forward(numbers, at);
    const [back, ...behind] = state.show === "forward" ? [""] : backward(numbers, at);
    const marks = [at(numbers.x), ...(there ? [at(numbers.xmu), at(numbers.y)] : [])];
    const up = state.tilt < 80 ? [name("1, 1, 1", origin, ones)] : [];
    return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="A batch of three as a point in space: the table has its numbers. A plane, with a circle on it, is seen from ${fixed(state.tilt, 0)} degrees above.">
      <ellipse class="bn-plane" cx="${origin[0]}" cy="${origin[1]}" rx="${flat}" ry="${flat * Math.sin((state.tilt * Math.PI) / 180)}"/>
      ${tips.map((tip) => line("bn-grid", origin, tip)).join("")}${arrow("bn-faint", origin, ones)}
      ${rim(Math.sqrt(3), state.tilt, "bn-rim")}
      ${inside < 1.7 && inside > 0.05 ? rim(inside, state.tilt, "bn-rim bn-inner") : ""}
      ${seen}${there}${back}${names([...here, ...ahead, ...behind, ...up, ...axes], marks)}
      <text class="bn-input" x="4" y="${HEIGHT - 6}">drag to turn</text></svg>`;
  }

  const ROWS = [
    ["x", "x"], ["x − μ", "xmu"], ["x̂", "xhat"], ["y", "y"],
    ["dy", "dy"], ["dy − mean", "level"], ["P dy", "tangent"], ["dx", "dx"],
  ];

  function table(numbers) {
    const lines = ROWS.map(([words, key]) => {
      const cells = [...numbers[key], size(numbers[key])].map((v) => `<td>${fixed(v, Math.abs(v) < 100 ? 2 : 0)}</td>`);
      return `<tr><th scope="row">${words}</th>${cells.join("")}</tr>`;
    });
    const heads = ["sample", "1", "2", "3", "length"].map((words) => `<th scope="col">${words}</th>`);
    return `<table><thead><tr>${heads.join("")}</tr></thead><tbody>${lines.join("")}</tbody></table>
      <p class="bn-legend">P dy is what is left of dy without its mean and without its part along x̂; dx is that, times γ r.</p>`;
  }

  function view(state, numbers) {
    const { x, gamma, exponent, upstream, show, turn, tilt } = state;
    const samples = x.map((v, i) =>
      slider(`x${i}`, `x of sample ${i + 1}`, { min: -LIMIT, max: LIMIT, step: 0.1, value: v, text: fixed(v) })
    );
    const button = (move) =>
      `<button type="button" data-move="${move}" ${moved(x, move) === x ? 'aria-disabled="true"' : ""}>${MOVES[move][0]}</button>`;
    return `<div class="bn-columns bn-wide"><div class="bn-figure"><div class="bn-space">${picture(state, numbers)}</div></div>
      <div class="bn-side"><div class="bn-controls bn-input">
      ${samples.join("")}
      <div class="bn-actions">${Object.keys(MOVES).map(button).join("")}</div>
      <p class="bn-note">${stuck(x)}</p></div>
      <div class="bn-controls bn-input bn-later">
      ${choice("show", "Show", [["forward", "forward"], ["backward", "backward"], ["both", "both"]], show)}
      ${slider("gamma", "γ, scale", { min: 0, max: 2, step: 0.1, value: gamma, text: fixed(gamma, 1) })}
      ${slider("exponent", "ε", { min: -5, max: 0, step: 1, value: exponent, text: `1e${fixed(exponent, 0)}` })}
      ${menu("upstream", "dy is", Object.keys(UPSTREAM).map((key) => [key, UPSTREAM[key][0]]), upstream)}
      ${slider("turn", "turn", { min: -180, max: 180, step: 5, value: turn, text: `${fixed(turn, 0)}°` })}
      ${slider("tilt", "look from above", { min: 0, max: 90, step: 5, value: tilt, text: `${fixed(tilt, 0)}°` })}
      </div></div></div>${table(numbers)}`;
  }

  function say({ gamma, show }, { xhat, y, dx, level, variance }) {
    const [out, length] = [size(xhat), size(dx)];
    const where =
      out > 1.725 ? "x̂ lies on the circle, at 1.73 (√3) from the centre." :
      variance < 1e-12 ? "The three are equal: x̂ is the centre, and has no direction." :
      `ε holds x̂ inside the circle: at ${fixed(out)} from the centre, not at 1.73.`;
    const along = out > 0 ? dot(dx, xhat) / out : 0;
    const left =
      length > 0.005 ? `dx is ${fixed(length)} long. It adds up to ${fixed(sum(dx))}, and the part of it along x̂ is ${fixed(along)}.` :
      gamma === 0 ? "γ is 0: no gradient passes." :
      size(level) < 0.005 ? "No gradient is left: dy was all mean." :
      "No gradient is left: without its mean, dy was all along x̂.";
    return `${where} ${show === "forward" ? `γ takes it to y, at ${fixed(size(y))}.` : left}`;
  }

  /* What moves all three samples, and how, with their mean. */
  const MOVES = {
    raise: ["raise all", (v) => v + 0.25],
    lower: ["lower all", (v) => v - 0.25],
    stretch: ["stretch", (v, mu) => mu + 1.25 * (v - mu)],
    squeeze: ["squeeze", (v, mu) => mu + 0.8 * (v - mu)],
  };

  /* Where one would leave its slider, nothing moves. */
  function moved(x, move) {
    const next = x.map((v) => MOVES[move][1](v, mean(x)));
    return next.some(isOutside) ? x : next;
  }

  const isOutside = (v) => Math.abs(v) > LIMIT;

  /* Which samples would, and by which buttons. */
  function stuck(x) {
    const [samples, words] = [new Set(), new Set()];
    for (const [word, way] of Object.values(MOVES))
      x.forEach((v, i) => {
        if (!isOutside(way(v, mean(x)))) return;
        samples.add(i + 1);
        words.add(word);
      });
    const [which, leaves] = samples.size > 1 ? ["Samples", "leave"] : ["Sample", "leaves"];
    return samples.size ? `${which} ${[...samples].sort().join(", ")} ${leaves} no room to ${[...words].join(" or ")}.` : "";
  }

  const between = (low, high, value) => Math.min(high, Math.max(low, value));
  const around = (turn) => ((((turn + 180) % 360) + 360) % 360) - 180;

  bnWidgets.define("turn-a-batch", {
    title: "A batch of three, in space",
    start: ({ x, gamma, exponent }) => ({ x, gamma, exponent, upstream: "mixed", show: "both", turn: 70, tilt: 30 }),
    change(state, key, value) {
      if (key === "drag") {
        const [right, down] = value;
        return { ...state, turn: around(state.turn + right / 2), tilt: between(0, 90, state.tilt + down / 2) };
      }
      if (key === "move") return { ...state, x: moved(state.x, value) };
      if (/^x\d$/.test(key)) return { ...state, x: state.x.map((v, i) => (key === `x${i}` ? Number(value) : v)) };
      return { ...state, [key]: key === "show" || key === "upstream" ? value : Number(value) };
    },
    listen(root, apply) {
      let last = null; // where the pointer that turns was
      root.addEventListener("pointerdown", (event) => {
        const space = event.target.closest(".bn-space");
        if (!space || event.button) return;
        last = [event.clientX, event.clientY];
        space.setPointerCapture(event.pointerId);
      });
      root.addEventListener("pointermove", ({ clientX, clientY, pointerType }) => {
        if (!last) return;
        const down = pointerType === "touch" ? 0 : clientY - last[1]; // it would scroll the page
        apply("drag", [clientX - last[0], down]);
        last = [clientX, clientY];
      });
      for (const end of ["pointerup", "pointercancel"]) root.addEventListener(end, () => (last = null));
      root.addEventListener("click", ({ target }) => {
        if (target.dataset.move) apply("move", target.dataset.move);
      });
    },
    ...{ numbers, view, say },
  });
  Object.assign(bnWidgets, { normalize, camera });
})();
