/* Set the momentum of the running averages; see how long the first value lingers, and what the
   frameworks call the same setting. Alpha is the weight of the new value. */
(function () {
  "use strict";
  const { fixed, short, slider, list } = bnWidgets;
  const STEPS = 20; // positions of the slider for each power of ten
  const LAST = 200; // batches

  const toAlpha = (position) => Number((10 ** (position / STEPS - 3)).toPrecision(2));
  const toPosition = (alpha) => Math.round(STEPS * (Math.log10(alpha) + 3));

  /* The weight that is left on the initial value after k batches. */
  const left = (alpha, k) => (1 - alpha) ** k;

  /* As many batches, weighted alike, would average with the same variance. */
  const effectiveWindow = (alpha) => (2 - alpha) / alpha;

  /* What a framework calls momentum. */
  const written = (alpha, weighs) => (weighs === "old" ? 1 - alpha : alpha);

  const [LEFT, RIGHT, TOP, BOTTOM] = [36, 340, 20, 180];
  const across = (k) => LEFT + (k / LAST) * (RIGHT - LEFT);
  const up = (weight) => BOTTOM - weight * (BOTTOM - TOP);

  function picture({ alpha, k }, { weight, window }) {
    const points = Array.from({ length: LAST + 1 }, (_, j) => `${across(j).toFixed(1)} ${up(left(alpha, j)).toFixed(1)}`);
    const ticks = [0, 50, 100, 150, 200].map(
      (v) => `<path class="bn-axis" d="M${across(v)} ${BOTTOM}v4"/><text class="bn-middle" x="${across(v)}" y="${BOTTOM + 17}">${v}</text>`
    );
    const levels = [0, 0.5, 1].map(
      (v) => `<path class="bn-grid" d="M${LEFT} ${up(v)}H${RIGHT}"/><text class="bn-end" x="${LEFT - 6}" y="${up(v) + 4}">${v}</text>`
    );
    const seen = window <= LAST;
    const late = window > LAST / 2; // its name goes to the left of its line
    const mark = seen
      ? `<path class="bn-mean" d="M${across(window)} ${TOP}V${BOTTOM}"/>
         <text class="${late ? "bn-end" : ""}" x="${across(window) + (late ? -5 : 5)}" y="${TOP + 10}">effective window</text>`
      : `<text class="bn-end" x="${RIGHT}" y="${BOTTOM - 8}">effective window: beyond ${LAST}</text>`;
    return `<svg viewBox="0 0 360 ${BOTTOM + 40}" role="img" aria-label="The weight left on the initial value against the number of batches, a falling exponential; a dot at the chosen number.">
      <text x="4" y="11">weight left</text>${levels.join("")}${ticks.join("")}
      <text class="bn-middle" x="${(LEFT + RIGHT) / 2}" y="${BOTTOM + 34}">batches, k</text>${mark}
      <path class="bn-curve" d="M${points.join("L")}"/>
      <path class="bn-drop" d="M${across(k)} ${BOTTOM}V${up(weight)}H${LEFT}"/>
      <circle class="bn-dot" cx="${across(k)}" cy="${up(weight)}" r="6"/></svg>`;
  }

  function view(state, numbers, { frameworks }) {
    const { alpha, k } = state;
    const lines = frameworks.map(
      ({ title, momentum, running_var: kind, standard }, i) => `<tr><th scope="row">${title}</th>
        <td><code>${short(numbers.written[i], 6)}</code></td><td>${kind}</td>
        <td class="bn-input"><button type="button" data-alpha="${standard}" aria-label="Set the default of ${title}, ${momentum}">${momentum}</button></td></tr>`
    );
    return `<div class="bn-columns"><div class="bn-figure">${picture(state, numbers)}</div>
      <div class="bn-side"><div class="bn-controls bn-input">
      ${slider("position", "α, momentum", { min: 0, max: 3 * STEPS, step: 1, value: toPosition(alpha), text: short(alpha) })}
      ${slider("k", "k, batches", { min: 0, max: LAST, step: 1, value: k, text: String(k) })}</div>
      ${list([
        ["weight left on the initial value", fixed(numbers.weight, 4)],
        ["effective window, batches", short(numbers.window)],
      ])}</div></div><table class="bn-frameworks"><thead><tr><th scope="col">framework</th>
      <th scope="col">writes this α as</th><th scope="col">running variance</th><th scope="col" class="bn-input">set its default</th>
      </tr></thead><tbody>${lines.join("")}</tbody></table>`;
  }

  bnWidgets.define("set-momentum", {
    title: "Set the momentum",
    start: ({ alpha, k }) => ({ alpha, k }),
    numbers: ({ alpha, k }, { frameworks }) => ({
      weight: left(alpha, k),
      window: effectiveWindow(alpha),
      written: frameworks.map(({ weighs }) => written(alpha, weighs)),
    }),
    change(state, name, value) {
      if (name === "position") return { ...state, alpha: toAlpha(Number(value)) };
      return { ...state, [name]: Number(value) };
    },
    view,
    say: ({ alpha, k }, { weight, window }) => `With α = ${short(alpha)}, after ${k} ${k === 1 ? "batch" : "batches"}
      ${fixed(100 * weight, 1)} % of the running average is still its initial value. In the long run
      it is as steady as the plain mean of ${short(window)} ${window === 1 ? "batch" : "batches"}.`,
    listen(root, apply) {
      root.addEventListener("click", ({ target }) => {
        if (target.dataset.alpha) apply("alpha", target.dataset.alpha);
      });
    },
  });
  Object.assign(bnWidgets, { toAlpha, toPosition, left, effectiveWindow, written });
})();
