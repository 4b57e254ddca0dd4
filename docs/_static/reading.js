// What style sheets cannot do for a reader.

// An equation or a figure that scrolls can be reached by keyboard; one that does not scroll is
// no stop on the way. Without this script all of them are (tabindex in the page).
const observer = new ResizeObserver(entries => {
  for (const { target } of entries) {
    const box = target.closest(".equation, .figure-box");
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
});
for (const box of document.querySelectorAll(".math > .equation, .figure-box")) {
  observer.observe(box);
  for (const content of box.children) observer.observe(content);
}

// Paper is white: a dark page is printed as the light one. What is folded cannot be opened there.
const root = document.documentElement;
let folded = [];
addEventListener("beforeprint", () => {
  root.dataset.shown = root.dataset.theme;
  root.dataset.theme = "light";
  folded = [...document.querySelectorAll(".bd-article details:not([open])")];
  for (const box of folded) box.open = true;
});
addEventListener("afterprint", () => {
  root.dataset.theme = root.dataset.shown;
  for (const box of folded) box.open = false;
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
