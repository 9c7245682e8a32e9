"""Numbers of the benchmarks: the page shows the last run, and documents quote it correctly.

A hidden comment after a number in a document states its place in benchmarks/results.json. For a ratio of two times, the
comment states both places:

    39 ms<!-- in_place > he_normal float32 4096x8192 > initlib -->
    68 times<!-- in_place > he_normal float32 4096x8192 > torch.nn.init vs initlib -->
"""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # last, so that the installed packages are tested

from benchmarks import report

DOCUMENTS = [ROOT / "README.md", ROOT / "benchmarks" / "LIMITS.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIGURE = r"(?<![\w.])(\d+(?:\.\d+)?) ?(µs|ms|s|times|x)(?!\w)"
QUOTE = re.compile(FIGURE + r"<!-- (.*?) -->")
UNITS = {"µs": 1e-6, "ms": 1e-3}
RUN = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))


def measured(place, results):
    """Return the measurement at a place, or its ratio to another place."""
    path, _, other = place.partition(" vs ")
    *above, last = path.split(" > ")
    for name in above:
        results = results[name]
    return results[last] / results[other] if other else results[last]


def wrong_quotes(text, results):
    """Return the quotes of a text that differ from the measurement, rounded to the digits that are shown."""
    wrong = []
    for number, unit, place in QUOTE.findall(text):
        digits = len(number.partition(".")[2])
        value = measured(place, results) / UNITS.get(unit, 1)
        if abs(value - float(number)) > 0.5001 * 10**-digits:
            wrong.append(f"{number} {unit}, but {place} is {value:.4g}")
    return wrong


def unquoted(text):
    """Return the numbers without a quote, in sections that quote other numbers."""
    sections = [section for section in re.split(r"^#+ .*$", text, flags=re.MULTILINE) if QUOTE.search(section)]
    return [" ".join(number) for section in sections for number in re.findall(FIGURE + "(?!<!-- )", section)]


def test_the_page_shows_the_last_run():
    assert report.page(RUN) == (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_figures_are_quoted_right(path):
    text = path.read_text(encoding="utf-8")
    assert wrong_quotes(text, RUN["results"]) == []
    assert unquoted(text) == []


def test_a_wrong_figure_is_found():
    results = {"in_place": {"he_normal": {"initlib": 0.0394, "torch": 2.69}}}
    ratio = "in_place > he_normal > torch vs initlib"
    text = f"# Speed\n39 ms<!-- in_place > he_normal > initlib -->, {{}} times<!-- {ratio} -->"
    assert wrong_quotes(text.format(68), results) == wrong_quotes(text.format("68.3"), results) == []
    assert wrong_quotes(text.format(69), results) == ["69 times, but in_place > he_normal > torch vs initlib is 68.27"]
    assert unquoted(text.format(68)) == []
    assert unquoted(text + "\n3 to 7 times\n## Elsewhere\n8 ms") == ["7 times"]
    with pytest.raises(KeyError):
        wrong_quotes("3 ms<!-- in_place > gone > initlib -->", results)
