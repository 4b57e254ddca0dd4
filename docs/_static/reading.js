// What style sheets cannot do for a reader.

// An equation that scrolls, or whose symbols answer (symbols.js), can be reached by keyboard; another
// is no stop on the way. Without this script all of them are (tabindex in the page).
const observer = new ResizeObserver(entries => {
  for (const { target } of entries) {
    const box = target.closest(".equation");
    const scrolls = box.scrollWidth > box.clientWidth;
    box.classList.toggle("whole", !scrolls);
    if (scrolls || box.querySelector("[data-s]")) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
});
for (const box of document.querySelectorAll(".math > .equation")) {
  observer.observe(box);
  for (const content of box.children) observer.observe(content);
}

// Paper is white: a dark page is printed as the light one.
const root = document.documentElement;
addEventListener("beforeprint", () => {
  root.dataset.shown = root.dataset.theme;
  root.dataset.theme = "light";
});
addEventListener("afterprint", () => {
  root.dataset.theme = root.dataset.shown;
});

// The words that were searched for are marked in the section that was found.
const searched = new URLSearchParams(location.search).get("highlight")?.trim();
if (searched && CSS.highlights) {
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const section = place?.matches("dt") // an entry of the glossary, or a function
    ? [place, place.nextElementSibling]
    : [place?.closest("section") ?? document.querySelector(".bd-article")];
  const words = searched.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&").replace(/\s+/g, "|");
  const word = new RegExp(`(?<![\\p{L}\\p{N}])(${words})(?![\\p{L}\\p{N}])`, "giu");
  const ranges = [];
  for (const part of section) {
    const texts = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode;
      for (const { 0: found, index } of text.data.matchAll(word)) {
        const range = new Range();
        range.setStart(text, index);
        range.setEnd(text, index + found.length);
        ranges.push(range);
      }
    }
  }
  CSS.highlights.set("searched", new Highlight(...ranges));
}
