// Renders the Markdown cells of a notebook as Visual Studio Code does, with markdown-it and KaTeX, and prints the HTML of each as JSON.
const { readFileSync } = require("node:fs");
const markdown = require("markdown-it")({ html: true }).use(require("@vscode/markdown-it-katex").default);
const { cells } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const sources = cells.filter((cell) => cell.cell_type === "markdown").map((cell) => [cell.source].flat().join(""));
console.log(JSON.stringify(sources.map((source) => markdown.render(source))));
