// A symbol under pointer, finger or arrow key is outlined wherever it stands: see _ext/symbols.py.
{
  const folder = document.currentScript.src;
  const hint = document.createElement("div");
  hint.className = "symbol-hint";
  hint.setAttribute("role", "status");
  document.querySelector("main").append(hint);

  let hints; // by symbol
  let shown = []; // the mark that is lit, and those that it is a part of
  let kept; // what was clicked, or reached by key
  let soon;

  function light(mark) {
    if (mark == shown[0]) return; // also where there is none
    shown = [];
    for (; mark; mark = mark.parentElement.closest("[data-s]")) shown.push(mark);
    for (const part of document.querySelectorAll(".lit")) part.classList.remove("lit", "around");
    for (const { dataset } of shown)
      for (const part of document.querySelectorAll(`[data-s="${dataset.s}"]:not(.lit)`)) {
        part.classList.add("lit");
        part.classList.toggle("around", dataset !== shown[0].dataset);
      }
    if (shown[0] && !hints) {
      const script = document.createElement("script");
      script.src = new URL("symbol-hints.js", folder);
      document.head.append(script);
      hints = {}; // asked for
    }
    say();
  }

  function say() {
    put(); // before the text: it need not be laid out for that
    hint.innerHTML = shown.map(({ dataset }) => hints[dataset.s] ?? "").join("");
  }

  // Called by the file of the hints: a page from the disk may load no JSON.
  window.symbolHints = given => {
    hints = given;
    say();
  };

  // Below the whole equation or listing.
  function put() {
    const [mark] = shown;
    if (!mark) return;
    const box = mark.closest(".equation-row, .equation, pre") ?? mark;
    hint.style.left = `min(${mark.getBoundingClientRect().left}px, 100vw - 28rem)`;
    hint.style.top = `min(${box.getBoundingClientRect().bottom + 6}px, 100vh - 7rem)`;
  }
  addEventListener("scroll", put);

  // A pointer on its way to somewhere else lights nothing.
  addEventListener("pointerover", ({ pointerType, target }) => {
    if (pointerType !== "mouse") return;
    clearTimeout(soon);
    soon = setTimeout(() => light(target.closest("[data-s]") ?? kept), 60);
  });
  addEventListener("click", ({ target }) => {
    const mark = target.closest("a, summary, button") ? null : target.closest("[data-s]");
    light((kept = mark === kept ? null : mark));
  });

  // An equation is one stop of the Tab key; within it, arrows lead to each of its symbols once.
  addEventListener("keydown", event => {
    const { key, target: box } = event;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (key === "Escape") light((kept = null));
    if (!step || event.altKey || event.ctrlKey || event.metaKey || !box.matches(".equation")) return;
    const names = new Set([...box.querySelectorAll("[data-s]")].map(mark => mark.dataset.s));
    if (!names.size) return;
    event.preventDefault();
    const row = [...names];
    const now = box.contains(kept) ? row.indexOf(kept.dataset.s) : step > 0 ? -1 : 0;
    kept = box.querySelector(`[data-s="${row.at((now + step) % row.length)}"]`);
    light(kept);
    kept.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  addEventListener("focusout", ({ target }) => {
    if (target.matches(".equation")) light((kept = null));
  });
}
