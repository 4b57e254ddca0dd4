/* What the widgets share: how a number is written, and how a view gets onto the page.

   A widget has start(data), the first state; numbers(state, data), what is computed;
   view(state, numbers, data), HTML as text; say(state, numbers, data), a sentence or two for
   everyone; change(state, name, value, data), the state after an input; and perhaps
   listen(root, apply, data, now), for what is no input, where now() is the state. Where it walks
   through steps, leads is true: the sentences stand above the view, and after them the piece of the
   page that piece(state) names.

   The build calls first() and writes the text into the page, so that it is complete without
   JavaScript; the browser changes it from there. Scripts, not modules: those do not load from a
   file. Nothing here touches a document before there is one. */
(function () {
  "use strict";
  const MINUS = "\u2212";
  const PAUSE = 250; // milliseconds without a change, after which the sentences are spoken
  const FIELDS = "input, select";
  const widgets = {};

  /* A number with a fixed count of decimals and a true minus; never minus zero. */
  function fixed(value, digits = 2) {
    const text = value.toFixed(digits);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", MINUS);
  }

  /* A number with at most so many significant digits, and no zeros at its end. */
  function short(value, digits = 3) {
    return String(Number(value.toPrecision(digits))).replace(/-/g, MINUS);
  }

  /* A labelled slider with its value beside it. */
  function slider(name, label, { min, max, step, value, text }) {
    return `<div class="bn-slider"><label><span>${label}</span> <input type="range" name="${name}"
      min="${min}" max="${max}" step="${step}" value="${value}" aria-valuetext="${text}"></label>
      <span class="bn-value" aria-hidden="true">${text}</span></div>`;
  }

  /* One of a few: a legend and a radio button for each of [value, label]. */
  function choice(name, legend, options, chosen) {
    const buttons = options.map(
      ([value, label]) => `<label><input type="radio" name="${name}" value="${value}"
        ${value === chosen ? "checked" : ""}> ${label}</label>`
    );
    return `<fieldset class="bn-choice"><legend>${legend}</legend>${buttons.join(" ")}</fieldset>`;
  }

  /* A labelled list of [value, label]. */
  function menu(name, label, options, chosen, disabled = false) {
    const items = options.map(
      ([value, text]) => `<option value="${value}" ${value === chosen ? "selected" : ""}>${text}</option>`
    );
    return `<label class="bn-menu"><span>${label}</span> <select name="${name}"
      ${disabled ? "disabled" : ""}>${items.join("")}</select></label>`;
  }

  /* Quantities with their values. */
  function list(facts) {
    const items = facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`);
    return `<dl class="bn-facts">${items.join("")}</dl>`;
  }

  /* The first view and its numbers: for the build. */
  function first(name, data) {
    const widget = widgets[name];
    const state = widget.start(data);
    const numbers = widget.numbers(state, data);
    const view = `<div class="bn-view">${widget.view(state, numbers, data)}</div>`;
    const said = `<p class="bn-said" aria-live="polite">${widget.say(state, numbers, data)}</p>`;
    const parts = widget.leads ? `<div class="bn-step">${said}<!-- pieces --></div>${view}` : view + said;
    const html = `<form class="bn-form" aria-label="${data.title ?? widget.title}" autocomplete="off">${parts}</form>`;
    return { html, numbers };
  }

  /* Make a node like another, in place: what has the focus, or is being dragged, stays. */
  function morph(old, fresh) {
    if (old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    // Most stays as it is; but a field may show another value than it was written with.
    if (old.isEqualNode(fresh) && !fresh.matches(FIELDS) && !fresh.querySelector(FIELDS)) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    morphChildren(old, fresh);
    for (const property of ["value", "checked"]) {
      if (property in fresh && old[property] !== fresh[property]) old[property] = fresh[property];
    }
  }

  function morphChildren(old, fresh) {
    const [mine, theirs] = [[...old.childNodes], [...fresh.childNodes]];
    theirs.forEach((child, i) => (i < mine.length ? morph(mine[i], child) : old.append(child)));
    mine.slice(theirs.length).forEach((child) => child.remove());
  }

  /* Bring one widget of the page to life. */
  function mount(root) {
    const widget = widgets[root.dataset.widget];
    const data = JSON.parse(root.querySelector("script").textContent);
    const [view, said] = [root.querySelector(".bn-view"), root.querySelector(".bn-said")];
    const pieces = root.querySelectorAll(".bn-piece");
    let state = widget.start(data);
    let spoken = widget.say(state, widget.numbers(state, data), data);
    let timer;

    function apply(name, value) {
      state = widget.change(state, name, value, data);
      const numbers = widget.numbers(state, data);
      const fresh = document.createElement("template");
      fresh.innerHTML = widget.view(state, numbers, data);
      morphChildren(view, fresh.content);
      for (const piece of pieces) piece.hidden = piece.dataset.piece !== widget.piece(state);
      const speak = () => {
        const sentences = widget.say(state, numbers, data);
        if (sentences !== spoken) said.innerHTML = spoken = sentences;
      };
      clearTimeout(timer);
      // What stands above the view changes with it, or all below would be laid out twice.
      if (widget.leads) speak();
      else timer = setTimeout(speak, PAUSE);
    }

    root.addEventListener("input", ({ target }) => apply(target.name, target.value));
    root.addEventListener("submit", (event) => event.preventDefault());
    // A finger that scrolls the page and began on a slider has moved it: put it back.
    let before = {};
    root.addEventListener("pointerdown", ({ target }) => {
      before = { name: target.name, value: target.value };
    });
    root.addEventListener("pointercancel", ({ target }) => {
      if (target.type === "range" && target.name === before.name) apply(target.name, before.value);
    });
    if (widget.listen) widget.listen(root, apply, data, () => state);
  }

  globalThis.bnWidgets = {
    define: (name, widget) => (widgets[name] = widget),
    numbersOf: (name, state, data) => widgets[name].numbers(state, data),
    saidOf: (name, state, data) => widgets[name].say(state, widgets[name].numbers(state, data), data),
    changed: (name, ...change) => widgets[name].change(...change),
    ...{ fixed, short, slider, choice, menu, list, first },
  };
  if (typeof document !== "undefined") {
    // Deferred scripts run in order, and this event comes after the last of them.
    document.addEventListener("DOMContentLoaded", () =>
      document.querySelectorAll(".bn-widget").forEach(mount)
    );
  }
})();
