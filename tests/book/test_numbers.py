"""The numbers in the text: found, compared and written by tools/numbers_in_text.py, and equal to what the built pages compute."""

import json

import nbformat
import pytest
from execute import cached, execute, pages_with_code
from numbers_in_text import convert, glued, near, printed, treat, update
from test_book import built

RUNS = [path for path in pages_with_code() if "glue(" in path.read_text(encoding="utf-8")]


def check(text, **values):
    """The text after an update, and the complaints."""
    new, complaints, _ = update(text, {key: [value] for key, value in values.items()}, lambda offset: "here")
    return new, complaints


@pytest.mark.parametrize(
    "text",
    [
        "differs by +1.6 %<!--a--> on pixels",
        "| one | +1.6 %<!--a--> |",
        "- a list with +1.6 %<!--a-->, and more",
        "(+1.6 %<!--a-->)",
        "`<!--no-key-->` and +1.6 %<!--a-->",
        "```python\nprint('<!--no-key-->')\n```\nThen +1.6 %<!--a-->.",
        "```{code-cell} ipython3\n# <!--no-key-->\n```\n\n:::{admonition} Title\nWith +1.6 %<!--a-->.\n:::",
        "```{admonition} Title\nWith +1.6 %<!--a-->.\n```\n\nAnd +1.6 %<!--a-->.",
    ],
)
def test_a_number_that_agrees(text):
    assert check(text, a="+1.6%") == (text, [])


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("by 1.6 %<!--a-->.", "2.0%", "by 2.0 %<!--a-->."),
        ("by 11.6 %<!--a-->.", "1.6%", "by 1.6 %<!--a-->."),  # a suffix that agrees is not enough
        ("by −1.6<!--a-->.", "1.6", "by 1.6<!--a-->."),
        ("by 1.6<!--a-->.", "-1.6", "by −1.6<!--a-->."),
        ("3-5<!--a-->", "6", "3-6<!--a-->"),
        ("10,000<!--a-->", "9,500", "9,500<!--a-->"),
        ("2e-4<!--a-->", "1e-12", "1e-12<!--a-->"),
        ("gap +0.1 (−0.2 to +0.3)<!--a-->", "-0.1 (-0.4 to +0.2)", "gap −0.1 (−0.4 to +0.2)<!--a-->"),
        ("gap +0.1 (−0.2\nto +0.3)<!--a-->", "+0.1 (-0.2 to +0.4)", "gap +0.1 (−0.2 to +0.4)<!--a-->"),
        ("3 of 10<!--a-->, 4 of 10<!--a-->", "5 of 12", "5 of 12<!--a-->, 5 of 12<!--a-->"),
        ("| 1 | 2<!--a--> | 3 |", "7", "| 1 | 7<!--a--> | 3 |"),
    ],
)
def test_a_number_that_differs_is_named_and_written(old, value, new):
    text, complaints = check(old, a=value)
    assert text == new
    assert len(complaints) == old.count("<!--a") and printed(value) in complaints[0] and complaints[0].startswith("here: a is")
    assert check(text, a=value) == (text, [])


@pytest.mark.parametrize(
    ("text", "value"), [("it excludes zero<!--a-->", "contains zero"), ("3, 5<!--a-->", "3, 5, 7"), ("overlong<!--a-->", "long")]
)
def test_changed_words_are_left_to_a_person(text, value):
    new, complaints = check(text, a=value)
    assert new == text
    assert "by hand" in complaints[0]


def test_words_that_agree():
    assert check("it contains zero<!--a--> here", a="contains zero")[1] == []


@pytest.mark.parametrize(
    ("text", "agrees"), [("1.04<!--a ~5%-->", True), ("1.06<!--a ~5%-->", False), ("1.04<!--a ~0.03-->", False)]
)
def test_tolerance(text, agrees):
    new, complaints = check(f"About {text} s", a="1.00")
    assert (complaints == []) is agrees
    assert (new == f"About {text} s") is agrees
    assert agrees or new.startswith("About 1.00<!--a ~")


def test_every_number_of_a_value_must_be_near():
    assert near("1.0 (−2.0 to 3.0)", "1.0 (−2.1 to 3.0)", "5", "%")
    assert not near("1.0 (−2.0 to 3.0)", "1.0 (−2.1 to 3.2)", "5", "%")
    assert not near("1.0", "−1.0", "5", "%")


def test_a_key_at_the_start_of_a_line_would_make_the_line_html():
    assert "begins a line" in check("A sentence with 5\n<!--a--> of them", a="5")[1][0]


def test_roles_become_numbers():
    values = {"a": ["-0.5"], "b": [3], "c": [0.25]}
    text = "By **{glue:text}`a`**, {glue:text}`b` of {glue:text}`c:.0%`; {glue:text}`d`."
    assert convert(text, values) == "By −0.5<!--a-->, 3<!--b--> of 25 %<!--c-->; {glue:text}`d`."


def page(path, text, *cells, caption=None):
    """A notebook with a text, and the code that glues its values."""
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    notebook.cells = [nbformat.v4.new_markdown_cell(text)]
    notebook.cells += [nbformat.v4.new_code_cell("from myst_nb import glue\n" + source) for source in cells]
    if caption:
        notebook.cells[-1].metadata["mystnb"] = {"figure": {"caption": caption}}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def test_no_number_is_pasted_by_the_build():
    assert [path.name for path in pages_with_code() if "{glue:" in path.read_text(encoding="utf-8")] == []


def test_a_page_is_run_compared_and_written(tmp_path):
    values = {"x": 'f"{6 * 7}"', "y": 5, "z": 1}
    glue = "\n".join(f'glue("{key}", {value}, display=False)' for key, value in [*values.items(), ("y", 6)])
    path = page(tmp_path / "page.ipynb", "The answer is 41<!--x-->, 5<!--y--> or 3<!--w-->.", glue, caption="With 43<!--x-->.")
    cache = tmp_path / "cache"
    assert execute([path], jobs=1, folder=cache) == []
    values = glued(cached(path, cache))
    assert values == {"x": ["42"], "y": [5, 6], "z": [1]}
    content, complaints, unused = treat(path, values)
    assert content["cells"][0]["source"] == ["The answer is 42<!--x-->, 5<!--y--> or 3<!--w-->."]
    assert content["cells"][1]["metadata"]["mystnb"]["figure"]["caption"] == "With 42<!--x-->."
    assert complaints == [
        "page.ipynb, cell 1: x is '42', and the text says '41'",
        "page.ipynb, cell 1: w has no value; no code of this page glues it",
        "page.ipynb, cell 2: x is '42', and the text says '43'",
        "page.ipynb: y is glued 2 times",
    ]
    assert unused == ["z"]


def test_a_page_that_fails_is_named_and_not_kept(tmp_path, capsys):
    path = page(tmp_path / "page.ipynb", "Text.", "1 / 0")
    assert execute([path], jobs=1, folder=tmp_path / "cache") == [path]
    assert "page.ipynb failed" in capsys.readouterr().err
    assert cached(path, tmp_path / "cache") is None


@built
@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_the_text_holds_the_computed_numbers(path):
    notebook = cached(path)
    assert notebook is not None, f"{path.name} was changed since the last build: run `make book`"
    assert treat(path, glued(notebook))[1] == []
