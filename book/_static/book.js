// On a narrow screen the parts of a display formula, which \qquad keeps apart, stand below each other. Runs before MathJax does.
if (window.innerWidth < 600) {
  const count = (text, mark) => text.split(mark).length;
  const whole = (part) =>
    count(part, "{") === count(part, "}") && count(part, "\\left") === count(part, "\\right") && !part.includes("&");
  for (const box of document.querySelectorAll("div.math")) {
    const node = [...box.childNodes].find((child) => child.nodeType === Node.TEXT_NODE && child.data.includes("\\["));
    const parts = node ? node.data.trim().slice(2, -2).split(/(?:\\qquad\s*)+/) : [];
    if (parts.length > 1 && parts.every(whole)) node.data = `\\[\\begin{gathered}${parts.join("\\\\")}\\end{gathered}\\]`;
  }
}

// The search finds what is spelt with -ise when asked with -ize, and the other way round.
if (window.Search && window.Stemmer) {
  const Porter = window.Stemmer;
  window.Stemmer = class {
    stemWord(word) {
      const { terms, titleterms } = Search._index;
      const stem = (spelling) => new Porter().stemWord(spelling);
      const other = word.replace(/(i|y)([sz])(e|ed|es|er|ers|ing|ation|ations)$/, (_, i, s, end) => i + (s === "s" ? "z" : "s") + end);
      return [word, other].map(stem).find((found) => found in terms || found in titleterms) ?? stem(word);
    }
  };
}
