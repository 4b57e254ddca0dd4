// Stands in each page, so that it runs before the first paint.

// No light page shall flash before a dark one.
{
  const mode = localStorage.getItem("mode") || "auto";
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = mode === "auto" ? (dark ? "dark" : "light") : mode;
  Object.assign(document.documentElement.dataset, { mode, theme });
}

// The fonts of formulas are fetched before the text that needs them: no page is set twice. From
// the disk they are there at once, and a browser refuses to fetch them beforehand.
if (location.protocol !== "file:") {
  for (const link of document.querySelectorAll("link[data-rel]")) link.rel = link.dataset.rel;
}
