// A symbol under pointer, finger or arrow key is outlined wherever it stands: see _ext/symbols.py.
{
  const folder = document.currentScript.src;
  const note = document.createElement("div");
  note.className = "symbol-note";
  // The button needs no words here: any click that is on no symbol puts out what is lit.
  note.innerHTML = '<div class="symbol-hint" role="status"></div><button aria-label="Close">×</button>';
  const [hint] = note.children;
  document.querySelector("main").append(note);

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

  // Below the row of an equation, or its listing, else above it; above a line of text, which one has
  // read, else below it. A telephone has it at the edge that is farther away.
  const ROOM = 130; // pixels that it may need
  function put() {
    const [mark] = shown;
    if (!mark) return;
    const row = mark.closest(".equation-row") ?? mark.closest(".equation, pre");
    const whole = row?.getBoundingClientRect();
    const box = whole?.height < innerHeight - 2 * ROOM ? whole : mark.getBoundingClientRect();
    const fits = box.bottom < innerHeight - ROOM;
    const above = box === whole ? !fits : box.top > ROOM || !fits;
    note.classList.toggle("above", box.bottom > innerHeight - ROOM);
    note.style.left = `min(${mark.getBoundingClientRect().left}px, 100vw - 28rem)`;
    note.style.top = above ? "auto" : `${box.bottom + 6}px`;
    note.style.bottom = above ? `${innerHeight - box.top + 6}px` : "auto";
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
