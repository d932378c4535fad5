"""Keep the numbers in the text equal to the computed ones: `python tools/numbers_in_text.py [PAGE ...]`, or `make numbers`.

A sentence holds the number itself and, in a comment that no reader sees, its key: `differs by +1.6 %<!--07-off-random--> on
pixels`. The page computes it with `glue("07-off-random", f"{x:+.1%}", display=False)`. This program runs the pages that the
build's cache does not know, and writes the computed values into notebooks (captions too) and Markdown pages.

- A value is found before its key by its shape: numbers may change, what stands between them may not. Where words changed, the
  sentence has to be read again anyway, and the program asks for it.
- A key with a tolerance, `<!--key ~5%-->` (of the number) or `<!--key ~0.02-->`, is for what is measured anew in each run: the
  text stays while all its numbers are that near. Without one the text must agree to the letter.
- A hyphen in front of a digit is printed as a minus sign, and a space goes before a per cent sign.

--check     write nothing; exit with 1 where text and computation differ
--convert   first turn {glue:text}`key` into the number with its key
"""

import argparse
import ast
import contextlib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEY = re.compile(r"<!--(?P<key>\w[\w.+-]*)(?: ~(?P<size>[\d.]+)(?P<percent>%?))?-->")
NUMBER = re.compile(r"(?:(?<!\w)[+\-−±])?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+\-−]?\d+)?")
ROLE = re.compile(r"(?P<bold>\*\*)?\{glue:text\}`(?P<key>[^`:]+)(?::(?P<format>[^`]+))?`(?(bold)\*\*)")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n\n).)+?)(?<!`)\1(?!`)", flags=re.S)


# What the pages compute


def printed(value):
    """A glued value as it stands in the text."""
    return re.sub(r"(?<=\d)%", " %", re.sub(r"(?<![\w.])-(?=\d)", "−", str(value)))


def glued(notebook):
    """The values that an executed notebook glues: key -> list of values."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            label = output.get("metadata", {}).get("scrapbook")
            text = label and output["data"].get(label["mime_prefix"] + "text/plain")
            if text is not None:
                with contextlib.suppress(ValueError, SyntaxError):
                    text = ast.literal_eval(text)
                found.setdefault(label["name"], []).append(text)
    return found


# What the text says


def mask(text, spans=True):
    """The text with code blanked out, so that places stay: fenced blocks that are not directives, and with `spans` `code`."""
    lines, open_fences = [], []
    for line in text.splitlines(keepends=True):
        fence = re.match(r" *(`{3,}|~{3,}|:{3,})(.*)", line)
        inside_code = bool(open_fences) and open_fences[-1][1]
        if fence and open_fences and not fence[2].strip() and fence[1].startswith(open_fences[-1][0]):
            open_fences.pop()
            inside_code = True
        elif fence and not inside_code and fence[2].count("`") == 0:
            is_code = not re.match(r"\{(?!code-cell|code-block|math\})", fence[2].strip())
            open_fences.append((fence[1], is_code))
            inside_code = True
        lines.append(re.sub(r"[^\n]", " ", line) if inside_code else line)
    masked = "".join(lines)
    return CODE_SPAN.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), masked) if spans else masked


def shape(value):
    """A pattern for texts that differ from a value in their numbers at most."""
    between = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in NUMBER.split(value)]
    return rf"(?:{NUMBER.pattern})".join(between)


def standing(text, end, value):
    """Where the value's counterpart begins in the text that ends with its key, or None."""
    start = max(0, end - 3 * len(value) - 40)
    found = re.search(rf"(?:{shape(value)})\Z", text[start:end])
    if not found or (re.match(r"\w", found[0]) and re.search(r"[\w.]\Z", text[: start + found.start()])):
        return None
    return start + found.start()


def near(old, new, size, percent):
    """Whether all numbers of two values of one shape agree within a tolerance."""
    read = lambda text: [float(n.replace("−", "-").replace(",", "").lstrip("±")) for n in NUMBER.findall(text)]
    share = float(size) / 100 if percent else 0
    allowed = 0 if percent else float(size)
    return all(abs(a - b) <= allowed + share * abs(b) + 1e-12 for a, b in zip(read(old), read(new), strict=True))


def update(text, values, place):
    """The text with the values written in, the complaints, and the keys it uses. place(offset): words for where that is."""
    pieces, complaints, used, done = [], [], set(), 0
    for key in KEY.finditer(mask(text)):
        name, where = key["key"], place(key.start())
        used.add(name)
        pieces.append(text[done : key.start()])
        done = key.start()
        if not text[text.rfind("\n", 0, done) + 1 : done].strip():
            complaints.append(f"{where}: <!--{name}--> begins a line, which Markdown takes for HTML; join it to the line above")
        elif name not in values:
            complaints.append(f"{where}: {name} has no value; no code of this page glues it")
        else:
            new = printed(values[name][0])
            start = standing(text, done, new)
            old = None if start is None else " ".join(text[start:done].split())
            if start is None:
                words = " ".join(text[max(0, done - len(new) - 10) : done].split())
                complaints.append(f"{where}: {name} is {new!r}, and the text says {words!r}: rewrite the sentence by hand")
            elif old != new and not (key["size"] and near(old, new, key["size"], key["percent"])):
                complaints.append(f"{where}: {name} is {new!r}, and the text says {old!r}")
                if start >= done - len(pieces[-1]):
                    pieces[-1] = pieces[-1][: start - done] + new
    return "".join(pieces) + text[done:], complaints, used


def convert(text, values):
    """The text with every {glue:text} role turned into the number and its key; unknown keys stay."""
    masked, pieces, done = mask(text, spans=False), [], 0
    for role in ROLE.finditer(masked):
        if role["key"] in values:
            value = values[role["key"]][0]
            value = format(value, role["format"]) if role["format"] else value
            pieces += [text[done : role.start()], f"{printed(value)}<!--{role['key']}-->"]
            done = role.end()
    return "".join(pieces) + text[done:]


# Pages


def texts_of(path, content):
    """A page's pieces of prose: words for the place of an offset, the text, and a function that puts another in its place."""
    if path.suffix == ".md":
        line = lambda offset: f"{path.name}, line {content['text'].count(chr(10), 0, offset) + 1}"
        yield line, content["text"], lambda text: content.update(text=text)
        return
    for number, cell in enumerate(content["cells"], 1):
        place = lambda offset, number=number: f"{path.name}, cell {number}"
        if cell["cell_type"] == "markdown":
            put = lambda text, cell=cell: cell.update(source=text.splitlines(keepends=True))
            yield place, "".join(cell["source"]), put
        figure = cell["metadata"].get("mystnb", {}).get("figure", {})
        if "caption" in figure:
            yield place, figure["caption"], lambda text, figure=figure: figure.update(caption=text)


def load(path):
    text = path.read_text(encoding="utf-8")
    return {"text": text} if path.suffix == ".md" else json.loads(text)


def save(path, content):
    text = content["text"] if path.suffix == ".md" else json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def treat(path, values, converting=False):
    """A page's content with the values written in, the complaints about the page as it stands, and the values it does not use."""
    content, complaints, used = load(path), [], set()
    for place, text, put in list(texts_of(path, content)):
        text = convert(text, values) if converting else text
        complaints += [f"{place(role.start())}: {role[0]} is not converted" for role in ROLE.finditer(mask(text, spans=False))]
        text, found, names = update(text, values, place)
        put(text)
        complaints += found
        used |= names
    complaints += [f"{path.name}: {name} is glued {len(found)} times" for name, found in values.items() if len(found) > 1]
    return content, complaints, [name for name in values if name not in used]


def main(arguments=None):
    from execute import executed, pages_with_code

    parser = argparse.ArgumentParser(prog="tools/numbers_in_text.py", description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", type=lambda text: Path(text).resolve(), help="all with code if none is given")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where text and computation differ")
    parser.add_argument("--convert", action="store_true", help="turn {glue:text}`key` into the number with its key")
    options = parser.parse_args(arguments)
    left = 0
    for path in options.pages or pages_with_code():
        values = glued(executed(path))
        content, complaints, unused = treat(path, values, options.convert)
        if not options.check:
            save(path, content)
            remaining = treat(path, values)[1]
            changed = [complaint for complaint in complaints if complaint not in remaining]
            print("".join(f"{change} (written)\n" for change in changed), end="")
            complaints = remaining
        print("".join(f"{complaint}\n" for complaint in complaints), end="")
        print(f"{path.name}: note that the text does not use {', '.join(unused)}\n" if unused else "", end="")
        left += len(complaints)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
