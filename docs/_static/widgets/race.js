/* Say which of two networks will learn, then let them train: here, in the reader's own page.

   race/train.js does that, in a worker. A page that is read from a disk may start none; there the
   same script works in the page, in slices too short to be felt. */
(function () {
  "use strict";
  const { fixed, short, slider, choice, menu } = bnWidgets;
  const RATES = [0.01, 0.03, 0.1, 0.3, 1, 3, 10];
  const SCALES = [0.3, 0.5, 1, 2, 3, 5, 7, 10, 15];
  const BATCHES = [2, 4, 8, 16, 32, 64, 128];
  const [DEEPEST, ALIKE] = [10, 5]; // hidden layers; points of accuracy
  const SLICE = 15; // milliseconds in which a page without a worker trains at a time
  const RIVALS = { batch: "batch normalization", layer: "layer normalization", weights: "good first weights" };
  const ACTIVATIONS = ["sigmoid", "tanh", "relu"].map((name) => [name, name === "relu" ? "ReLU" : name]);
  const MEANINGS = {
    batch: "Batch normalization takes mean and variance of each unit over the images of the batch.",
    layer: "Layer normalization takes mean and variance of each image over the units of the layer, so it needs no other image.",
    weights: "Good first weights are so large that each layer passes on what differs; nothing is normalized.",
  };
  const names = ({ rival }) => ["without normalization", `with ${RIVALS[rival]}`];

  /* What trains takes from a state. */
  const settings = ({ rival, activation, rate, scale, depth, batch, seed }) => ({
    ...{ rival, activation, rate, scale, depth, batch, seed },
  });

  /* "0", "1" or "alike": which network reads more of the test images, if it matters. */
  function winner([without, rival]) {
    const points = 100 * (rival - without);
    return Math.abs(points) <= ALIKE ? "alike" : String(Number(points > 0));
  }

  function change(state, name, value, { presets }) {
    const fresh = { guess: null, running: false, failed: false, frames: [], seed: 0 };
    if (name === "preset") return { ...state, ...presets[value], ...fresh, preset: Number(value) };
    if (name === "frames") return { ...state, frames: [...state.frames, ...value], shown: value.at(-1) };
    if (name === "end") return { ...state, running: false, failed: value };
    if (name === "guess") return { ...state, ...fresh, guess: value, running: true, seed: state.seed };
    if (name === "again") return { ...state, frames: [], running: true, seed: state.seed + 1 };
    const lists = { rate: RATES, scale: SCALES, batch: BATCHES };
    if (name in lists) value = lists[name][value];
    if (name === "depth") value = Number(value);
    return { ...state, ...fresh, [name]: value, preset: null };
  }

  /* -------------------------------------------------------------------------------------------
     The picture, in units of its view box
     ------------------------------------------------------------------------------------------- */

  const [LEFT, RIGHT] = [40, 350];
  const label = (x, y, text, kind = "bn-middle") => `<text class="${kind}" x="${x}" y="${y}">${text}</text>`;

  /* A mark as in the figures: a circle without, a square with. */
  function mark(arm, x, y, size = 4) {
    if (arm === 0) return `<circle class="bn-a" cx="${x}" cy="${y}" r="${size}"/>`;
    return `<path class="bn-b" d="M${x - size} ${y - size}h${2 * size}v${2 * size}h${-2 * size}Z"/>`;
  }
  const key = (arm) => `<svg class="bn-key" viewBox="0 0 12 12" aria-hidden="true">${mark(arm, 6, 6, 5)}</svg>`;

  /* Ten test images, and under each what the two networks take it for. */
  function images({ answers }, { strip }) {
    const width = (RIGHT - LEFT) / 10;
    const rows = answers.map((digits, arm) => {
      const [y, right] = [51 + 18 * arm, (digit, i) => digit === i];
      const texts = digits.map((digit, i) =>
        label(LEFT + (i + 0.5) * width, y, digit < 0 ? "?" : digit, `bn-middle ${right(digit, i) ? "bn-right" : "bn-wrong"}`)
      );
      return `${mark(arm, LEFT - 14, y - 4)}${texts.join("")}`;
    });
    return `<image class="bn-ink" x="${LEFT}" y="0" width="${RIGHT - LEFT}" height="${width}" href="${strip}"/>${rows.join("")}`;
  }

  /* One quantity of both networks against the step, from a low value at the bottom to a high one. */
  function curves({ frames }, quantity, steps, [low, high], [top, bottom], levels) {
    const across = (step) => LEFT + (step / steps) * (RIGHT - LEFT);
    const inside = (v) => (v <= high ? Math.max(v, low) : high); // one that is no number is above
    const up = (v) => bottom - ((inside(v) - low) / (high - low)) * (bottom - top);
    const grid = levels.map(
      ([v, text]) => `<path class="bn-grid" d="M${LEFT} ${up(v)}H${RIGHT}"/>${label(LEFT - 6, up(v) + 4, text, "bn-end")}`
    );
    const lines = [0, 1].map((arm) => {
      const points = frames.map((frame) => `${across(frame.step).toFixed(1)} ${up(frame[quantity][arm]).toFixed(1)}`);
      const [x, y] = points.length ? points.at(-1).split(" ").map(Number) : [0, 0];
      return points.length
        ? `<path class="bn-line ${arm ? "bn-b" : "bn-a"}" d="M${points.join("L")}"/>${mark(arm, x, y, 5 - arm)}`
        : "";
    });
    return grid.join("") + lines.join("");
  }

  /* One quantity of both networks for each hidden layer, by decades; zero, which has no logarithm,
     on a line of its own. */
  function layers(values, [left, right], [low, high]) {
    const { top, bottom } = LAYERS;
    const zero = bottom + 14;
    const across = (i) => left + ((i + 0.5) / values[0].length) * (right - left);
    const up = (v) => bottom - ((Math.min(Math.max(Math.log10(v), low), high) - low) / (high - low)) * (bottom - top);
    const grid = [low, (low + high) / 2, high].map(
      (v) => `<path class="bn-grid" d="M${left} ${up(10 ** v)}H${right}"/>
        ${label(left - 4, up(10 ** v) + 4, v ? `1e${String(v).replace("-", "\u2212")}` : "1", "bn-end")}`
    );
    const height = (v) => (v === 0 ? zero : up(v > 0 ? v : 1e99)); // one that is no number is on top
    const marks = values.flatMap((list, arm) =>
      list.map((v, i) => mark(arm, (across(i) + 5 * arm - 2.5).toFixed(1) * 1, height(v).toFixed(1) * 1, 3))
    );
    const last = values[0].length;
    return `${grid.join("")}<path class="bn-link" d="M${left} ${zero}H${right}"/>${label(left - 4, zero + 4, "0", "bn-end")}
      ${marks.join("")}${label(across(0), zero + 17, 1)}${last > 1 ? label(across(last - 1), zero + 17, last) : ""}
      ${label((left + right) / 2, zero + 17, "layer")}`;
  }

  // From top to bottom: the curves, the layers, the images.
  const [ACCURACY, LOSS, LAYERS, IMAGES] = [[26, 116], [152, 196], { top: 248, bottom: 318 }, 366];
  const [SIGNAL, GRADIENT] = [[LEFT, 172], [222, RIGHT]];

  /* A dashed frame around what is to be looked at. */
  function frame(name, count) {
    const column = ([left, right]) => (right - left) / count;
    const { top, bottom } = LAYERS;
    const [x, y, width, height] = {
      accuracy: [LEFT - 4, ACCURACY[0] - 6, RIGHT - LEFT + 8, ACCURACY[1] - ACCURACY[0] + 12],
      "first loss": [LEFT - 4, LOSS[0] - 6, 60, LOSS[1] - LOSS[0] + 12],
      "last signal": [SIGNAL[1] - column(SIGNAL), top - 8, column(SIGNAL) + 4, bottom - top + 30],
      "first gradient": [GRADIENT[0], top - 8, column(GRADIENT), bottom - top + 30],
      gradient: [GRADIENT[0] - 2, top - 8, GRADIENT[1] - GRADIENT[0] + 4, bottom - top + 30],
    }[name];
    return `<rect class="bn-frame" x="${x}" y="${y}" width="${width}" height="${height}" rx="5"/>`;
  }

  function picture(state, shown, data) {
    const { steps, presets } = data;
    const frames = presets[state.preset]?.frames ?? [];
    return `<svg viewBox="0 0 360 442" role="img" aria-label="Accuracy and loss against the step; for each hidden layer how much its outputs differ from image to image, and its gradient; ten test images and what each network takes them for. The table has the numbers.">
      ${label(4, 10, "test images read correctly, %", "")}
      ${curves(state, "accuracy", steps, [0, 1], ACCURACY, [[0, "0"], [0.5, "50"], [1, "100"]])}
      ${label(4, 137, "loss in training", "")}
      ${curves(state, "loss", steps, [0, 3], LOSS, [[0, "0"], [3, "3"]])}
      ${label(LEFT, 213, "0")}${label(RIGHT, 213, steps, "bn-end")}${label((LEFT + RIGHT) / 2, 213, "step")}
      ${label(4, 232, "how much outputs differ", "")}${layers(shown.signal, SIGNAL, [-6, 0])}
      ${label(196, 232, "gradient of the weights", "")}${layers(shown.gradient, GRADIENT, [-6, 2])}
      <g transform="translate(0 ${IMAGES})">${images(shown, data)}</g>
      ${frames.map((name) => frame(name, state.depth)).join("")}</svg>`;
  }

  /* -------------------------------------------------------------------------------------------
     Words and controls
     ------------------------------------------------------------------------------------------- */

  const percent = (share) => `${fixed(100 * share, 1)}\u00a0%`;
  function rough(v) {
    if (!Number.isFinite(v)) return "no number";
    return v === 0 || v >= 0.01 ? fixed(v, 2) : short(v, 1);
  }

  function table(state, { accuracy, loss, signal, gradient }) {
    const rows = [
      ["test images read correctly", accuracy.map(percent)],
      ["loss in training", loss.map(rough)],
      ["difference, last hidden layer", signal.map((layers) => rough(layers.at(-1)))],
      ["gradient, first layer", gradient.map(([first]) => rough(first))],
    ].map(([name, values]) => `<tr><th scope="row">${name}</th>${values.map((v) => `<td>${v}</td>`).join("")}</tr>`);
    const heads = ["without", "with"].map((name, arm) => `<th scope="col">${key(arm)} ${name}</th>`);
    return `<table><thead><tr><td></td>${heads.join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }

  function guesses(state, { steps, tests }) {
    const { guess, running } = state;
    const options = [...names(state).map((name, arm) => [String(arm), `${key(arm)} ${name}`]), ["alike", `alike, within ${ALIKE} points`]];
    const buttons = options.map(
      ([value, text]) => `<button type="button" name="guess" value="${value}" aria-pressed="${value === guess}" ${running ? 'aria-disabled="true"' : ""}>${text}</button>`
    );
    return `<fieldset class="bn-guess bn-input"><legend>Predict, to start: which reads more of ${tests} test images after ${steps} steps?</legend>
      ${buttons.join(" ")}</fieldset>`;
  }

  function view(state, shown, data) {
    const { presets } = data;
    const { preset, guess, running, rival, activation, rate, scale, depth, batch } = state;
    const at = (list, value) => ({ min: 0, max: list.length - 1, step: 1, value: list.indexOf(value), text: String(value) });
    const run = running ? "Stop" : "Again, from other first weights";
    return `<div class="bn-ask"><div class="bn-input">${choice("preset", "Two networks learn to read digits; one thing differs between them.", presets.map(({ name }, i) => [i, name]), preset)}
      <p class="bn-look">${preset === null ? "Your own settings." : presets[preset].look}</p></div>
      ${guesses(state, data)}</div>
      <div class="bn-figure">${picture(state, shown, data)}</div>
      <p class="bn-progress bn-input">step ${shown.step} of ${data.steps} ${guess === null ? "" : `<button type="button" name="run">${run}</button>`}</p>
      ${table(state, shown)}<div class="bn-settings"><p class="bn-note bn-input">${MEANINGS[rival]}</p><div class="bn-controls bn-input">
      ${menu("rival", "the second has", Object.entries(RIVALS), rival)}
      ${menu("activation", "activation", ACTIVATIONS, activation)}
      ${slider("rate", "learning rate", at(RATES, rate))}
      ${slider("scale", "first weights, times", at(SCALES, scale))}
      ${slider("depth", "hidden layers", { min: 1, max: DEEPEST, step: 1, value: depth, text: String(depth) })}
      ${slider("batch", "images in a batch", at(BATCHES, batch))}</div>
      <p class="bn-source">Images: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (CC BY 4.0), enlarged and distorted.</p></div>`;
  }

  /* What a run has shown: whether it was expected, and by what one could have known. */
  function say(state, { accuracy, step, signal, loss }, { presets, steps }) {
    if (state.failed) return "The images could not be loaded. Is there a connection?";
    const [without, rival] = names(state);
    if (state.guess === null || (!state.running && step < steps)) {
      const when = step ? `after ${step} steps` : "before the first step";
      return `How much the outputs of the last hidden layer differ from image to image, ${when}:
        ${rough(signal[0].at(-1))} ${without}, ${rough(signal[1].at(-1))} ${rival}.`;
    }
    if (state.running) return "They train.";
    const found = winner(accuracy);
    const [first, second] = (found === "1" ? [1, 0] : [0, 1]).map((arm) => percent(accuracy[arm]));
    const texts = { 0: `${without}, ${first} against ${second}`, 1: `${rival}, ${first} against ${second}`, alike: `alike, ${first} and ${second}` };
    const ending = loss.every(Number.isFinite) ? "" : " A loss is no number any more.";
    return `<strong>${found === state.guess ? "As you said" : "Not what you said"}: ${texts[found]}.</strong>
      From image to image, the outputs of the last hidden layer differ by ${rough(signal[0].at(-1))} ${without}, by ${rough(signal[1].at(-1))} ${rival}.${ending}
      ${state.preset === null ? "" : presets[state.preset].why}`;
  }

  /* -------------------------------------------------------------------------------------------
     Training
     ------------------------------------------------------------------------------------------- */

  const here = typeof document === "undefined" ? "" : document.currentScript.src;
  const address = (name) => new URL(`../race/${name}`, here).href;

  /* Return a function that trains, in place of what it trained before; without settings, nothing. */
  function inWorker(fail) {
    const worker = new Worker(address("train.js"));
    let [latest, show] = [0, null];
    worker.onerror = fail;
    worker.onmessage = ({ data: { id, frame } }) => id === latest && show(frame);
    return (settings, steps, tell) => {
      show = tell;
      worker.postMessage({ id: ++latest, settings, steps });
    };
  }

  function inPage(fail) {
    const load = (name) =>
      new Promise((done, failed) => {
        const script = Object.assign(document.createElement("script"), { src: address(name) });
        [script.onload, script.onerror] = [done, failed];
        document.head.append(script);
      });
    const ready = Promise.all(["train.js", "digits.js"].map(load)).then(() => bnRace.decode(bnDigits));
    ready.catch(fail);
    let [latest, stop] = [0, () => {}];
    return (settings, steps, tell) => {
      const id = ++latest;
      stop();
      ready.then((digits) => {
        if (settings && id === latest) stop = bnRace.run(settings, digits, steps, SLICE, tell);
      }, () => {});
    };
  }

  function listen(root, apply, { steps }, now) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    let [train, timer] = [null, 0];

    function ready() {
      train ??= (location.protocol === "file:" ? inPage : inWorker)(() => apply("end", true));
    }

    /* Train so many steps; who wants no motion sees the end of it. */
    function start(count) {
      ready();
      if (count) root.querySelector(".bn-said").textContent = "They train.";
      let seen = [];
      train(settings(now()), count, (frame) => {
        seen.push(frame);
        if (still && frame.step < count) return;
        apply("frames", seen);
        seen = [];
        if (count && frame.step === count) apply("end", false);
      });
    }

    root.addEventListener("pointerover", ready, { once: true });
    root.addEventListener("focusin", ready, { once: true });
    root.addEventListener("input", () => {
      // What reaches each layer with these settings, once they have been chosen.
      if (train) train(null);
      clearTimeout(timer);
      timer = setTimeout(() => start(0), 100);
    });
    root.addEventListener("click", ({ target }) => {
      const { name, value } = target.closest("button") ?? {};
      if (name === "guess" && !now().running) {
        clearTimeout(timer);
        apply("guess", value);
        start(steps);
        // On a telephone the verdict would come up below the window.
        if (matchMedia("(max-width: 576px)").matches) root.querySelector(".bn-said").scrollIntoView({ block: "nearest" });
      }
      if (name === "run" && now().running) {
        train(null);
        apply("end", false);
      } else if (name === "run") {
        apply("again");
        start(steps);
      }
    });
  }

  bnWidgets.define("race", {
    title: "Race two networks",
    start: ({ presets, first }) => ({
      ...presets[0],
      ...{ preset: 0, guess: null, running: false, frames: [first], shown: first, seed: 0 },
    }),
    numbers: ({ shown }) => shown,
    ...{ change, view, say, listen },
  });
  Object.assign(bnWidgets, { winner, raceSettings: settings });
})();
