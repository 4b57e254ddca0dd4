// What style sheets cannot do for a reader.

// An equation that scrolls can be reached by keyboard; one that does not scroll is no stop on the
// way. Without this script all of them are (tabindex in the page).
const observer = new ResizeObserver(entries => {
  for (const { target } of entries) {
    const box = target.closest(".equation");
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
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

// The search page is there to type into.
document.querySelector(".bd-search-container input")?.focus();

// Search: explanations come before the lists of functions, unless a function's whole name was
// typed; and a page that is read from the disk may not open the others to quote them.
if (typeof Scorer !== "undefined") {
  const wholeName = Scorer.objNameMatch + Scorer.objPrio[1];
  Scorer.score = ([page, , , , score]) =>
    page.startsWith("api/") && score < wholeName ? score / 10 : score;
}
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
