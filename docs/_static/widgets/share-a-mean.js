/* Choose a normalization, point at a number, and see which others share its mean. */
(function () {
  "use strict";
  const { fixed, choice, menu, list } = bnWidgets;
  const KINDS = ["Batch", "Layer", "Instance", "Group", "RMS"];

  /* Whether (n, c) and (i, j), samples and channels, are pooled; all their pixels are. */
  function pools(kind, [n, c], [i, j], channels, groups) {
    const size = channels / groups; // channels in a group
    if (kind === "Batch") return j === c;
    if (kind === "Instance") return i === n && j === c;
    if (kind === "Group") return i === n && Math.floor(j / size) === Math.floor(c / size);
    return i === n; // Layer and RMS
  }

  /* Count, mean, biased variance and mean square, in two passes. */
  function moments(values) {
    const average = (list) => list.reduce((total, v) => total + v, 0) / list.length;
    const mean = average(values);
    return {
      ...{ m: values.length, mean },
      variance: average(values.map((v) => (v - mean) ** 2)),
      square: average(values.map((v) => v * v)),
    };
  }

  /* How many sets of numbers, each with statistics of its own, the block falls into. */
  function sets(kind, samples, channels, groups) {
    const counts = { Batch: channels, Instance: samples * channels, Group: samples * groups };
    return counts[kind] ?? samples;
  }

  function numbers({ kind, groups, n, c }, { values }) {
    const channels = values[0].length;
    const pooled = values.map((row, i) =>
      row.map((_, j) => pools(kind, [n, c], [i, j], channels, groups))
    );
    const shared = values.flatMap((row, i) => row.filter((_, j) => pooled[i][j]).flat());
    return { pooled, ...moments(shared), sets: sets(kind, values.length, channels, groups) };
  }

  function cell(pixels, i, j, state, pooled) {
    const current = i === state.n && j === state.c;
    const texts = pixels.map((v) => fixed(v, 0));
    return `<td><button type="button" class="bn-cell${pooled ? " bn-pooled" : ""}"
      data-place="${i},${j}" tabindex="${current ? 0 : -1}" ${current ? 'aria-current="true"' : ""}
      aria-label="sample ${i + 1}, channel ${j + 1}: ${texts.join(" ")}${pooled ? ", pooled" : ""}">${texts
        .map((text) => `<span>${text}</span>`)
        .join(" ")}</button></td>`;
  }

  function view(state, { pooled, m, mean, variance, square, sets }, { values, divisors }) {
    const head = values[0].map((_, j) => `<th scope="col">${j + 1}</th>`);
    const rows = values.map(
      (row, i) => `<tr><th scope="row">${i + 1}</th>${row
        .map((pixels, j) => cell(pixels, i, j, state, pooled[i][j]))
        .join("")}</tr>`
    );
    const options = divisors.map((g) => [g, String(g)]);
    const facts = [
      ["numbers pooled, m", m],
      ...(state.kind === "RMS"
        ? [["mean square", fixed(square)], ["mean subtracted", "none"]]
        : [["their mean", fixed(mean)], ["their variance", fixed(variance)]]),
      [state.kind === "RMS" ? "mean squares in all" : "means in all", sets],
    ];
    return `<div class="bn-columns"><div class="bn-figure">
      <table class="bn-block"><caption>Rows: samples. Columns: channels. In each box, the pixels of
      one feature map.</caption><thead><tr><td></td>${head.join("")}</tr></thead>
      <tbody>${rows.join("")}</tbody></table></div>
      <div class="bn-side"><div class="bn-controls bn-input">
      ${choice("kind", "Normalization", KINDS.map((kind) => [kind, kind]), state.kind)}
      ${menu("groups", "groups", options, state.groups, state.kind !== "Group")}</div>
      ${list(facts)}</div></div>`;
  }

  function say({ kind, groups, n, c }, { m, mean, variance, square, sets }, { values }) {
    const size = values[0].length / groups;
    const first = Math.floor(c / size) * size + 1;
    const channels = size === 1 ? `channel ${first}` : `channels ${first} to ${first + size - 1}`;
    const which = {
      Batch: `channel ${c + 1} of every sample`,
      Instance: `channel ${c + 1} of sample ${n + 1}`,
      Group: `${channels} of sample ${n + 1}`,
    };
    const share =
      kind === "RMS"
        ? `the mean square ${fixed(square)}; no mean is subtracted`
        : `the mean ${fixed(mean)} and the variance ${fixed(variance)}`;
    return `${kind}: the ${m} numbers in ${which[kind] ?? `sample ${n + 1}, every channel,`} share
      ${share}. There are ${sets} such sets.`;
  }

  /* The box that was clicked or has the focus; while the pointer is over another, that one.
     Arrows move the focus. */
  function listen(root, apply, { values }) {
    const boxOf = (event) => event.target.closest("[data-place]");
    let [kept, shown, last] = ["0,0", "0,0", ""];
    function show(place) {
      if (place !== shown) apply("place", place);
      shown = place;
    }
    function choose(event) {
      const box = boxOf(event);
      if (box) show((kept = box.dataset.place));
    }
    root.addEventListener("pointermove", (event) => {
      // A pointer at rest, under which the page scrolls, shows nothing.
      const now = `${event.clientX},${event.clientY}`;
      if (now !== last) show(boxOf(event)?.dataset.place ?? kept);
      last = now;
    });
    root.addEventListener("pointerleave", () => show(kept));
    root.addEventListener("focusin", choose);
    root.addEventListener("click", choose);
    root.addEventListener("keydown", (event) => {
      const box = boxOf(event);
      const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const step = steps[event.key];
      if (!box || !step) return;
      event.preventDefault();
      const sizes = [values.length, values[0].length];
      const place = box.dataset.place
        .split(",")
        .map((v, axis) => Math.max(0, Math.min(sizes[axis] - 1, Number(v) + step[axis])));
      root.querySelector(`[data-place="${place}"]`).focus();
    });
  }

  bnWidgets.define("share-a-mean", {
    title: "Which numbers share a mean?",
    start: ({ kind, groups }) => ({ kind, groups, n: 0, c: 0 }),
    change(state, name, value) {
      if (name === "place") {
        const [n, c] = value.split(",").map(Number);
        return { ...state, n, c };
      }
      return { ...state, [name]: name === "groups" ? Number(value) : value };
    },
    ...{ numbers, view, say, listen },
  });
  Object.assign(bnWidgets, { pools, moments });
})();
