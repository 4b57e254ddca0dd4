// The page of the search answers while one types, with sections: where they are, and a part of each.
{
  const SHOWN = 20;
  const form = document.querySelector(".bd-search-container form");
  const field = form.elements.q;
  const status = document.querySelector("#search-status");
  const list = document.querySelector("#search-results");

  const make = (tag, children, attributes = {}) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
  };
  const marked = pieces => pieces.map(([text, found]) => (found ? make("mark", [text]) : text));

  // Prose, unless only code has what was found: then the first line that has the most of it.
  const quoted = ({ heading, text, code, found }) => {
    const has = words => Search.wordsFound(words, found).length > 0;
    if (has(heading) || has(text) || !has(code)) return marked(Search.quote(text || heading, found));
    const count = line => Search.wordsFound(line, found).length;
    const best = code.split("\n").reduce((a, b) => (count(b) > count(a) ? b : a));
    return [make("code", marked(Search.quote(best.trim(), found)))];
  };

  const shown = section => {
    const { name, title, anchor, heading, text, code, found } = section;
    const words = Search.wordsFound([heading, text, code].join(" "), found);
    // The page that is opened marks them (reading.js).
    const query = words.length > 0 ? `?highlight=${encodeURIComponent(words.join(" "))}` : "";
    const href = `${name}.html${query}${anchor && `#${anchor}`}`;
    const page = anchor ? [make("span", [`${title} › `], { className: "search-page" })] : [];
    const link = make("a", [...page, ...marked(Search.quote(heading, found))], { href });
    return make("li", [link, make("p", quoted(section))]);
  };

  const answer = () => {
    const query = field.value.trim();
    let sections = query ? Search.find(query) : [];
    const all = sections.length;
    if (all === 0 && query) sections = Search.nearest(query);
    list.replaceChildren(...sections.slice(0, SHOWN).map(shown));
    status.textContent =
      !query ? ""
      : all > SHOWN ? `${SHOWN} of ${all} sections, the best first`
      : all > 0 ? `${all} section${all > 1 ? "s" : ""} found`
      : sections.length > 0 ? "No section has these words. The nearest:"
      : "No section has these words, or similar ones.";
    const address = new URL(location);
    if (query) address.searchParams.set("q", query);
    else address.searchParams.delete("q");
    history.replaceState(null, "", address); // so that one comes back to what was found
  };

  field.value = new URLSearchParams(location.search).get("q") ?? "";
  field.addEventListener("input", answer);
  form.addEventListener("submit", event => {
    event.preventDefault();
    list.querySelector("a")?.focus();
  });
  answer();
  field.focus();
  field.select();
}
