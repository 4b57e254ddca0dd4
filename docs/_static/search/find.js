// Find sections: what of a text counts, MiniSearch's index of all texts, and a part to quote.
//
// A text is read as words. A word has terms: itself ("running") and its stem ("~run"); a name of
// several words is also one ("+running_mean"). Where a phrase of the list of synonyms begins stands
// the number of its line ("=12").
const Search = (() => {
  const WORD = // a number, or a name
    /\p{N}+(?:\.\p{N}+)*(?:e[-+]?\p{N}+)?(?![\p{L}\p{N}_])|[\p{L}\p{N}]+(?:_+[\p{L}\p{N}]+)*(?:['’]\p{L}+)?/giu;
  const PART = /\p{Lu}?\p{Ll}+|\p{Lu}+(?!\p{Ll})|\p{N}+\p{L}*/gu;
  const LONGEST = 5; // words of a phrase
  const BOOSTS = { "~": 1, "=": 2.5, "+": 8 };
  const stemmer = new EnglishStemmer();
  const stopwords = new Set(SITE.stopwords);
  const lines = new Map(); // from a phrase, in stems, to the line that it stands in
  const begins = new Set(); // the stems with which a phrase begins
  const known = new Set(); // all terms of the site
  const readBefore = new Map();

  // Lower case without accents, the American spelling, and no 's.
  const simple = word =>
    word.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "").replace("’", "'")
      .replace(/'s$/, "").replace(/(...)is(e[drs]?|ers?|ing|ations?)$/, "$1iz$2");

  // running_mean is running and mean; BatchNorm1d is batch, norm and 1d, but NaN and ReLU are words.
  const partsOf = word => word.split(/_+/).flatMap(name => {
    const parts = name.match(PART) ?? [];
    return parts.every(part => part.length > 2 || /^\p{N}/u.test(part)) ? parts : [name];
  });

  const readWord = word => {
    if (!readBefore.has(word)) {
      const parts = partsOf(word).map(part => {
        const itself = simple(part), stem = stemmer.stemWord(itself);
        return { stem, terms: stopwords.has(itself) ? [] : [itself, `~${stem}`], whole: [] };
      });
      if (parts.length > 1) parts[0].whole.push(`+${simple(word)}`);
      readBefore.set(word, parts);
    }
    return readBefore.get(word);
  };

  // The words of a text, each with its place and with the phrases that begin there, as
  // [number of words, term]; the longest last.
  const read = text => {
    const words = [...text.matchAll(WORD)].flatMap(({ 0: found, index: start }) =>
      readWord(found).map(part => ({ ...part, start, end: start + found.length, phrases: [] })));
    words.forEach(({ stem, phrases }, i) => {
      let phrase = stem;
      for (let n = 1; begins.has(stem) && n <= LONGEST; n++) {
        if (lines.has(phrase)) phrases.push([n, lines.get(phrase)]);
        phrase += ` ${words[i + n]?.stem}`;
      }
    });
    return words;
  };

  const termsOf = text => read(text).flatMap(({ terms, whole, phrases }) =>
    [...terms, ...whole, ...phrases.map(([, line]) => line)]);

  // In a question, a phrase stands for its line alone: whatever it is called, the same is found.
  const asked = query => {
    const words = read(query), terms = [];
    for (let i = 0; i < words.length;) {
      const [n, line] = words[i].phrases.at(-1) ?? [1, null];
      terms.push(...(line ? [line] : words[i].terms));
      terms.push(...words.slice(i, i + n).flatMap(({ whole }) => whole));
      i += n;
    }
    return terms;
  };

  SITE.synonyms.forEach((phrases, number) => {
    for (const phrase of phrases) {
      const stems = read(phrase).map(({ stem }) => stem);
      begins.add(stems[0]);
      lines.set(stems.join(" "), `=${number}`);
    }
  });

  const sections = SITE.sections.map(([page, anchor, heading, text, code], id) => {
    const [name, title, weight] = SITE.pages[page];
    return { id, name, title, weight, anchor, heading, text, code };
  });
  const isWord = term => /^\p{L}/u.test(term);
  const isNumber = term => /^~?\p{N}/u.test(term);
  const index = new MiniSearch({
    fields: ["heading", "title", "text", "code"],
    tokenize: termsOf,
    processTerm: (term, field) => {
      if (field) known.add(term);
      return term;
    },
    searchOptions: {
      tokenize: asked,
      boost: { heading: 5, title: 1, text: 1, code: 0.3 },
      boostDocument: id => sections[id].weight,
      // A number says little: messages are full of shapes. A line says more, a name the most.
      boostTerm: term => isNumber(term) ? 0.2 : isWord(term) ? 0.6 : BOOSTS[term[0]],
      // The last word may be unfinished; one that is nowhere may be misspelt.
      prefix: (term, i, terms) =>
        isWord(term) && term.length > 2 && (!known.has(term) || i === terms.findLastIndex(isWord)),
      fuzzy: term => (isWord(term) && term.length > 3 && !known.has(term) ? 0.25 : false),
    },
  });
  index.addAll(sections);

  // Whether a heading has all that is asked, and nothing else.
  const isHeading = (heading, query) => {
    const has = new Set(termsOf(heading)), found = new Set(termsOf(query)), words = read(heading);
    return asked(query).every(term => has.has(term) || isWord(term)) &&
      places(words, found).every((hits, i) => hits.length > 0 || words[i].terms.length === 0);
  };

  // The sections that hold any of the words, the best first, with all terms to mark in them.
  const find = (query, options) => {
    const results = index.search(query, options).map(({ id, score, match }) =>
      ({ ...sections[id], score, found: new Set([...Object.keys(match), ...termsOf(query)]) }));
    const headed = results.filter(({ heading, weight }) => weight >= 1 && isHeading(heading, query));
    return [...headed, ...results.filter(result => !headed.includes(result))];
  };

  // What is written most like the words, where no section has them.
  const nearest = query => find(query, { fuzzy: term => isWord(term) && 0.5, prefix: isWord });

  // Where in a text those terms are, as [start, end] of each word.
  const places = (words, found) => {
    const hit = words.map(({ terms, whole }) => [...terms, ...whole].filter(term => found.has(term)));
    words.forEach(({ phrases }, i) => {
      for (const [n, line] of phrases) {
        if (found.has(line)) for (let k = i; k < i + n; k++) hit[k].push(line);
      }
    });
    return hit;
  };

  // Some 36 words of a text, where the most is found; each piece is [text, whether it was found].
  const quote = (text, found, length = 36) => {
    const words = read(text), hits = places(words, found);
    const worth = i => {
      const seen = hits.slice(i, i + length).flat();
      return new Set(seen).size + seen.length / 100;
    };
    const first = words
      .map((_, i) => i)
      .filter(i => i % 12 === 0 || /[.!?:]\s*$/.test(text.slice(words[i - 1].end, words[i].start)))
      .reduce((best, i) => (worth(i) > worth(best) ? i : best), 0);
    const last = Math.min(first + length, words.length) - 1;
    const pieces = [];
    let place = first > 0 ? words[first].start : 0;
    for (let i = first; i <= last; i++) {
      const { start, end } = words[i];
      if (hits[i].length > 0 && start >= place) {
        pieces.push([text.slice(place, start), false], [text.slice(start, end), true]);
        place = end;
      }
    }
    const rest = last === words.length - 1 ? text.slice(place) : `${text.slice(place, words[last].end)} …`;
    return [[first > 0 ? "… " : "", false], ...pieces, [rest, false]].filter(([piece]) => piece);
  };

  // The words of a text that were found, as they are written there.
  const wordsFound = (text, found) => {
    const words = read(text), hits = places(words, found);
    return [...new Set(words.filter((_, i) => hits[i].length > 0)
      .map(({ start, end }) => text.slice(start, end).toLowerCase()))];
  };

  return { find, nearest, quote, wordsFound };
})();
