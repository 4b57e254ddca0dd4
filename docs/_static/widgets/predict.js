/* Predict, then see what came out: choose a verdict, place a number, or draw a curve. What was
   predicted stays in this browser, under one name; where it may keep nothing, on this page. */
(function () {
  "use strict";
  const { choice } = bnWidgets;
  const KEPT = "bn-predictions";
  let memory = {}; // by question, the guess and whether it was right

  function remembered() {
    try {
      memory = JSON.parse(localStorage.getItem(KEPT)) ?? {};
    } catch {} // refused, or not ours
    return memory;
  }

  function keep() {
    try {
      localStorage.setItem(KEPT, JSON.stringify(memory));
    } catch {}
    showProgress();
  }

  const noun = (data) => (data.exercise ? "answer" : "prediction");

  const decimals = (step) => (String(step).split(".")[1] ?? "").length;

  /* A number as the effects write it: a difference has its sign. */
  function written(value, { step, difference }) {
    const text = Math.abs(value).toFixed(decimals(step));
    if (Number(text) === 0) return text;
    return (value < 0 ? "\u2212" : difference ? "+" : "") + text;
  }

  /* Whether something else has the other sign, where that is known. */
  const isOpposite = (value, { low, high }) => (low > 0 && value < 0) || (high < 0 && value > 0);

  const isIn = (value, { low, high }) => low <= value && value <= high;

  /* Whether a point lies where it came out: in the interval, or near the estimate, on its side. */
  const isNear = (value, point, tolerance) =>
    isIn(value, point) ||
    (Math.abs(value - point.mean) <= tolerance && !isOpposite(value, point));

  /* By how much a guess is off, and to which side. */
  function miss(value, point, data) {
    const off = Math.abs(value - point.mean);
    const size = written(off, { step: data.step }); // as finely as one could guess
    if (Number(size) === 0) return "on the spot";
    return `${size} ${data.unit} too ${value < point.mean ? "low" : "high"}${isOpposite(value, point) ? ", with the other sign" : ""}`;
  }

  /* The points below each other, a slider for each. The drawing behind them is stretched: 100 units
     across, one down for each point; its strokes are not, and a stroke without length is a mark. */
  function points({ guess, told }, { near }, data) {
    const across = (value) =>
      Math.min(100, Math.max(0, (100 * (value - data.low)) / (data.high - data.low))).toFixed(1);
    const line = (kind, places) => `<path class="${kind}" d="M${places.map((place) => place.join(" ")).join("L")}"/>`;
    const count = data.points.length;
    const isHit = (i) => told && count > 1 && near[i];
    const ticks = [0, 1, 2, 3, 4].map((k) => data.low + (k * (data.high - data.low)) / 4);
    const grid = ticks.map((v) => line(v === 0 ? "bn-axis" : "bn-grid", [[across(v), 0], [across(v), count]]));
    const mine = guess.map((value, i) => [across(value), i + 0.5]);
    const bars = data.points.map(({ low, high }, i) => line("bn-bar", [[across(low), i + 0.5], [across(high), i + 0.5]]));
    const marks = data.points.map(({ mean }, i) => line("bn-came", [[across(mean), i + 0.5], [across(mean), i + 0.5]]));
    const rows = data.points.map(
      ({ label }, i) => `<label><span>${label || data.axis}</span> <input class="bn-input" type="range" name="${i}"
        min="${data.low}" max="${data.high}" step="${data.step}" value="${guess[i]}"
        aria-valuetext="${written(guess[i], data)} ${data.unit}${isHit(i) ? ", counts as right" : ""}"></label>
        <span class="bn-value" aria-hidden="true">${written(guess[i], data)}${isHit(i) ? " \u2713" : ""}</span>`
    );
    return `<fieldset class="bn-points ${count > 1 ? "" : "bn-one"}" ${told ? "disabled" : ""}><legend>${data.axis}</legend>
      <div class="bn-rows-drawn"><svg viewBox="0 0 100 ${count}" preserveAspectRatio="none" aria-hidden="true">${grid.join("")}
      ${count > 1 ? line("bn-mine", mine) : ""}${told ? bars.join("") + marks.join("") : ""}</svg>${rows.join("")}</div>
      <div class="bn-ticks" aria-hidden="true">${ticks.map((v) => `<span>${written(v, data)}</span>`).join("")}</div></fieldset>`;
  }

  function options({ guess, told }, { options, right }) {
    const labels = options.map(([value, words]) => {
      const notes = [value === guess && "yours", right.includes(value) && "so it came out"].filter(Boolean);
      return [value, `<span>${words}${told && notes.length ? ` <strong>(${notes.join("; ")})</strong>` : ""}</span>`];
    });
    const html = choice("choice", "Your prediction", labels, guess);
    return `<div class="bn-options bn-input">${told ? html.replace("<fieldset", "<fieldset disabled") : html}</div>`;
  }

  function numbers({ guess }, data) {
    if (data.options) return { right: data.right.includes(guess) };
    const near = data.points.map((point, i) => isNear(guess[i], point, data.tolerance));
    return { near, right: near.every(Boolean) };
  }

  function say({ guess, told, asked }, { near, right }, data) {
    // Who is near, but not in the interval, did not say what came out.
    const exact = !data.points || data.exercise || data.points.every((point, i) => isIn(guess[i], point));
    const judged = right ? ` <strong>${exact ? "Right." : "Near enough."}</strong>` : "";
    if (told && data.options) {
      const [, words] = data.options.find(([value]) => value === guess);
      return `You predicted: ${words}. It came out: ${data.came}.${judged}`;
    }
    if (told && near.length > 1) {
      const hits = near.filter(Boolean).length;
      const far = data.points.map(({ mean }, i) => Math.abs(guess[i] - mean));
      const worst = far.indexOf(Math.max(...far));
      const most = `The farthest, ${data.points[worst].label}, is ${miss(guess[worst], data.points[worst], data)}.`;
      return `The squares are what came out. ${hits} of your ${near.length} points ${hits === 1 ? "counts" : "count"} as right (\u2713).${judged} ${most} ${data.rule}`;
    }
    if (told) {
      const off = data.exercise ? "" : `: you were ${miss(guess[0], data.points[0], data)}`;
      return `Your ${noun(data)} is ${written(guess[0], data)}. It came out as ${data.points[0].text}${off}.${judged}`;
    }
    if (asked && data.exercise) return "Not yet. Try again, or open the hint.";
    if (asked && data.options) return "Choose one first.";
    if (asked && guess.length === 1)
      return `Do you mean ${written(guess[0], data)}? Then press once more; else move the circle first.`;
    if (asked) return "Draw the curve first: move its circles.";
    const how = data.options ? "" : `Move ${data.points.length > 1 ? "each" : "the"} circle, with a finger, the mouse or the arrow keys.`;
    return [how, data.rule, `Your ${noun(data)} stays in this browser.`].filter(Boolean).join(" ");
  }

  const start = (data) => ({ guess: data.options ? "" : data.points.map(() => data.start) });

  // Circles begin at zero. One that stays there may be meant so: who hands it in twice means it.
  const isGuessed = ({ guess, asked }, data) =>
    data.options
      ? guess !== ""
      : guess.some((value) => value !== data.start) || (guess.length === 1 && asked);

  function change(state, name, value, data) {
    if (name === "forget") return start(data);
    if (name === "recall") return { guess: value, told: true };
    if (name === "tell") {
      // In an exercise who is wrong may try again.
      const told = data.exercise ? numbers(state, data).right : isGuessed(state, data);
      return { ...state, asked: true, told };
    }
    const guess = data.options ? value : state.guess.map((old, i) => (String(i) === name ? Number(value) : old));
    return { guess };
  }

  function listen(root, apply, data) {
    const answer = root.querySelector("details"); // an exercise has none
    const isTold = () => root.querySelector("fieldset").disabled;
    const read = () =>
      data.options
        ? root.querySelector(":checked").value
        : [...root.querySelectorAll("[type=range]")].map((input) => Number(input.value));
    const judge = (guess) => ({ guess, right: numbers({ guess }, data).right });

    root.addEventListener("submit", () => {
      apply(isTold() ? "forget" : "tell");
      remembered();
      if (isTold()) memory[data.key] = judge(read());
      else delete memory[data.key];
      keep();
      if (answer) answer.open = isTold();
    });

    const { guess } = remembered()[data.key] ?? {};
    const fits = data.options ? data.options.some(([value]) => value === guess) : guess?.length === data.points.length;
    if (fits) {
      apply("recall", guess);
      memory[data.key] = judge(guess); // it may have come out otherwise this time
      keep();
    }
  }

  bnWidgets.define("predict", {
    title: "Your prediction",
    view: (state, numbers, data) => `${data.options ? options(state, data) : points(state, numbers, data)}
      <p class="bn-input"><button type="submit" class="bn-button">${
        state.told ? `Forget this ${noun(data)}` : `This is my ${noun(data)}`
      }</button></p>`,
    ...{ start, numbers, say, change, listen },
  });

  /* How far the reader is, where a page lists the questions. */
  function showProgress() {
    const known = remembered();
    for (const box of document.querySelectorAll(".bn-progress")) {
      const keys = JSON.parse(box.dataset.questions);
      const done = keys.filter((key) => key in known);
      const right = done.filter((key) => known[key].right);
      box.querySelector(".bn-count").textContent = `${done.length} of ${keys.length} predicted, ${right.length} right.`;
      box.querySelector("button").hidden = !done.length;
      for (const mark of box.querySelectorAll("[data-key]")) {
        const one = known[mark.dataset.key];
        mark.textContent = one ? (one.right ? "predicted, right" : "predicted, not as it came out") : "";
      }
    }
  }

  if (typeof document !== "undefined") {
    document.addEventListener("click", ({ target }) => {
      if (!target.matches(".bn-progress button")) return;
      memory = {};
      keep();
    });
    addEventListener("pageshow", showProgress); // after a step back, too
    document.addEventListener("DOMContentLoaded", showProgress);
  }
})();
