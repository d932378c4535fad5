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

  const mark = () => {
    for (const formula of document.querySelectorAll("p mjx-container, li mjx-container"))
      if (!formula.closest("div.math")) formula.classList.toggle("wide", formula.offsetWidth > formula.parentElement.clientWidth);
  };
  window.addEventListener("load", () => window.MathJax?.startup?.promise?.then(mark));
}
