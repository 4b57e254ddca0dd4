// A symbol under the pointer, a finger or the arrow keys is outlined wherever it stands, and below
// it stands what the notation table says: see _ext/symbols.py, which writes data-s.
{
  const folder = document.currentScript.src;
  const hint = document.createElement("div");
  hint.className = "symbol-hint";
  hint.setAttribute("role", "status");
  document.querySelector("main").append(hint);

  let hints; // by symbol, when they have arrived
  let shown = null; // the mark that is lit
  let kept = null; // the mark that was clicked, or reached by key
  let soon;

  const around = mark => mark.parentElement.closest("[data-s]");

  function light(mark) {
    if (mark === shown) return;
    shown = mark;
    for (const part of document.querySelectorAll(".lit")) part.classList.remove("lit", "lit-around");
    for (let outer = mark; outer; outer = around(outer))
      for (const part of document.querySelectorAll(`[data-s="${outer.dataset.s}"]:not(.lit)`)) {
        part.classList.add("lit");
        part.classList.toggle("lit-around", outer !== mark);
      }
    if (mark && !hints) {
      const script = document.createElement("script");
      script.src = new URL("symbol-hints.js", folder);
      document.head.append(script);
      hints = {}; // asked for
    }
    say();
  }

  // The file of the hints calls this: a page from the disk may load scripts, and no JSON.
  window.symbolHints = given => {
    hints = given;
    say();
  };

  function say() {
    let html = "";
    for (let mark = shown; mark; mark = around(mark)) html += hints[mark.dataset.s] ?? "";
    hint.innerHTML = html;
    put();
  }

  // Below the whole equation or listing, and within the window.
  function put() {
    if (!shown) return;
    const box = shown.closest(".equation-row, .equation, pre") ?? shown;
    const left = Math.min(shown.getBoundingClientRect().left, innerWidth - hint.offsetWidth - 20);
    const top = Math.min(box.getBoundingClientRect().bottom + 6, innerHeight - hint.offsetHeight - 6);
    hint.style.left = `${left}px`;
    hint.style.top = `${top}px`;
  }
  addEventListener("scroll", put, { passive: true });

  // A pointer on its way to somewhere else lights nothing.
  document.addEventListener("pointerover", event => {
    if (event.pointerType !== "mouse") return;
    clearTimeout(soon);
    soon = setTimeout(() => light(event.target.closest("[data-s]") ?? kept), 60);
  });
  document.addEventListener("click", event => {
    const mark = event.target.closest("a, summary, button, [data-s]");
    kept = mark?.dataset.s && mark !== kept ? mark : null;
    light(kept);
  });

  // An equation is one stop of the Tab key; within it, arrows lead to each of its symbols once.
  document.addEventListener("keydown", event => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") light((kept = null));
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !event.target.matches(".equation")) return;
    const marks = new Map(); // the first of each symbol
    for (const mark of event.target.querySelectorAll("[data-s]"))
      if (!marks.has(mark.dataset.s)) marks.set(mark.dataset.s, mark);
    if (!marks.size) return;
    event.preventDefault();
    const row = [...marks.values()];
    const now = row.indexOf(event.target.contains(kept) ? marks.get(kept.dataset.s) : null);
    light((kept = row.at(now < 0 && step < 0 ? -1 : (now + step) % row.length)));
    kept.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  document.addEventListener("focusout", event => {
    if (event.target.matches(".equation")) light((kept = null));
  });
}
