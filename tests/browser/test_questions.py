"""The questions at a chapter's end: answers open by keyboard, one of a question at a time, and can be read in either theme."""

from pathlib import Path

import pytest
from pages import find, next_frame, open_at

PAGE = Path(__file__).parents[2] / "_build" / "html" / "book" / "02_kl.html"
ENTER, SPACE, TAB = "\ue007", " ", "\ue004"

# The ratio of luminances (WCAG 2) between some text and the nearest ground behind it.
CONTRAST = """
const [node, pseudo] = arguments;
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const luminance = colour => rgb(colour).slice(0, 3)
  .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
let behind = node;
while (behind && (rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
const pair = [getComputedStyle(node, pseudo).color, behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)"];
const [low, high] = pair.map(luminance).sort((a, b) => a - b);
return (high + 0.05) / (low + 0.05);
"""


@pytest.fixture
def page(browser):
    if not PAGE.exists():
        pytest.skip("the book is not built yet: run `make book`")
    return open_at(browser, PAGE, width=390, ready="details.answer mjx-container")


def answers(browser, question):
    return find(browser, f"details.answer[name='q-02-{question}']")


def is_open(answer):
    return answer.get_attribute("open") is not None


def press(browser, key):
    browser.switch_to.active_element.send_keys(key)
    next_frame(browser)


def test_answers_open_by_keyboard_one_at_a_time(page):
    first, second, third = answers(page, 1)
    assert not any(map(is_open, (first, second, third)))
    page.execute_script("arguments[0].focus()", first.find_element("tag name", "summary"))
    press(page, ENTER)
    assert is_open(first)
    assert first.find_element("css selector", "details > p").is_displayed()
    press(page, TAB)
    assert page.switch_to.active_element == second.find_element("tag name", "summary")
    assert page.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(page, SPACE)
    assert [is_open(answer) for answer in (first, second, third)] == [False, True, False]
    press(page, SPACE)
    assert not is_open(second)


def test_questions_do_not_close_each_other(page):
    for question in (1, 2):
        answers(page, question)[0].find_element("tag name", "summary").click()
    assert is_open(answers(page, 1)[0]) and is_open(answers(page, 2)[0])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_verdicts_can_be_read(page, theme):
    page.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    marks = set()
    for answer in answers(page, 1):
        summary = answer.find_element("tag name", "summary")
        summary.click()
        next_frame(page)
        for node, pseudo in ((summary, None), (summary, "::before"), (answer.find_element("css selector", "details > p"), None)):
            assert page.execute_script(CONTRAST, node, pseudo) >= 4.5
        marks.add(page.execute_script("return getComputedStyle(arguments[0], '::before').content", summary))
        assert page.execute_script("return arguments[0].scrollWidth <= arguments[0].clientWidth", answer)
    assert len(marks) == 2, "right and wrong have different marks, not only different colours"
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
