"""Documentation: it builds without a warning, its links have targets, and its tables agree with the code."""

import ast
import importlib
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

import initlib
from initlib.schemes.factories import FACTORIES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SLIDER = DOCS / "extra" / "std.html"

NAMES = {name: getattr(initlib, name) for name in initlib.__all__}


# --- the pages


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site. Its reference imports the adapters, so the frameworks must be installed."""
    for package in ("sphinx", "myst_parser", "furo", "torch", "keras", "jax"):
        pytest.importorskip(package, exc_type=ImportError)
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", out / "doctrees", DOCS, out / "html"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return out / "html"


class Page(HTMLParser):
    """Links of a page, and the places in the page that a link can lead to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.places.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def dead_links(folder):
    """Return the links within the site without a target, and the number of links that were followed."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    dead, followed = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            followed += 1
            if not target.exists() or (target in pages and unquote(parts.fragment) not in pages[target].places):
                dead.append(f"{path.name}: {link}")
    return dead, followed


def test_links_lead_somewhere(site):
    dead, followed = dead_links(site)
    assert dead == []
    assert followed > 500


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<p id="here"><a href="#here"></a><a href="#gone"></a><a href="b.html"></a>')
    assert dead_links(tmp_path) == (["a.html: #gone", "a.html: b.html"], 3)


def test_the_reference_has_every_public_name(site):
    html = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html"))
    described = set(re.findall(r'id="(?:module-)?(initlib[\w.]+)"', html))
    presets = set(re.findall(r'<span class="pre">(\w+)</span>', html))
    for module in ("initlib", "initlib.adapters.torch", "initlib.adapters.keras", "initlib.adapters.jax"):
        names = set(importlib.import_module(module).__all__)
        if module.endswith("keras"):
            names -= set(public("keras.initializers"))  # Keras's own classes, under its names and arguments
        names = {name for name in names if f"{name}_" not in names}  # PyTorch's deprecated names
        assert {name for name in names if f"{module}.{name}" not in described} - presets == set(), module
    assert "<p>alias of" not in html  # in place of a description


def test_pages_load_nothing_from_other_sites(site):
    for path in site.rglob("*.html"):
        outside = re.findall(r'(?:src|<link[^>]*href)="(?:https?:)?//[^"]+"', path.read_text(encoding="utf-8"))
        assert outside == [], path.name


# --- the tables


def rows(page, columns):
    """Return the rows of a page's tables with so many columns, without backticks."""
    lines = re.findall(r"^\| (.*) \|$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return [row for row in cells if len(row) == columns and not row[0].startswith("-")]


def test_the_gains_have_four_right_digits():
    table = [row for row in rows("choose.md", 4) if row[0] != "activation"]
    assert len(table) >= 16
    for activation, forward, backward, initializer in table:
        name, *rest = re.split(r"[ ,]", activation)
        slope = re.search(r"slope ([\d.]+)", activation)
        parameters = {"slope": float(slope[1])} if slope else {}
        assert f"{initlib.gain(name, **parameters):.4f}" == forward, rest
        assert f"{initlib.gain(name, backward=True, **parameters):.4f}" == backward
        for code in re.findall(r"`(.*?)`", initializer):
            assert isinstance(eval(code, {"np": np}, NAMES), initlib.Initializer)


@pytest.mark.parametrize(
    "code", sorted({code for row in rows("choose.md", 3) for code in re.findall(r"`(.*?)`", row[1])})
)
def test_advice_for_special_weights_is_an_initializer(code):
    assert isinstance(eval(code, {"L": 12}, NAMES), initlib.Initializer)


def test_every_recipe_that_is_advised_is_called_with_its_arguments():
    codes = [code for row in rows("choose.md", 2) for code in re.findall(r"`recipes\.(.*?)`", row[1])]
    assert len(codes) == 9
    for code in codes:
        call = ast.parse(code, mode="eval").body
        recipe = inspect.signature(getattr(initlib.recipes, call.func.id))
        recipe.bind(*call.args, **{keyword.arg: keyword.value for keyword in call.keywords})


def test_the_reference_has_every_recipe_and_initializer_in_a_table(site):
    page = (site / "reference" / "recipes.html").read_text(encoding="utf-8")
    table = page[page.index("<table") : page.index("</table>")]
    assert re.findall(r'href="#initlib\.recipes\.(\w+)"', table) == initlib.recipes.__all__
    assert table.count("computed from the model") == 1  # all others have a source
    core = (site / "reference" / "core.html").read_text(encoding="utf-8")
    factories = [name for name in initlib.__all__ if name in FACTORIES]
    tables = re.findall(r"<table.*?</table>", core, re.DOTALL)
    assert factories in [re.findall(r'href="#initlib\.(\w+)"', table) for table in tables]


def signature(name, function):
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "tensor"]
    return f"{name}({', '.join(p.name if p.default is p.empty else f'{p.name}={p.default!r}' for p in parameters)})"


def codes(page):
    """Return the text in backticks in the first columns of a page's tables, and in its paragraphs."""
    text = (DOCS / page).read_text(encoding="utf-8")
    first = re.findall(r"^\| `([^`]*)` \|", text, re.MULTILINE)
    prose = re.sub(r"^\|.*$", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return first, re.findall(r"`([^`]*)`", prose)


def public(module):
    return {
        name: value
        for name, value in vars(importlib.import_module(module)).items()
        if not name.startswith("_") and callable(value) and not inspect.ismodule(value)
    }


def compare(page, functions):
    """Return the names and arguments that a page's tables lack, and the rows that the peer does not have."""
    first, prose = codes(page)
    missing = [text for name, text in functions.items() if text not in first and name not in prose]
    return missing, [code for code in first if code not in functions.values()]


def test_the_table_has_every_name_and_argument_of_torch():
    pytest.importorskip("torch", exc_type=ImportError)
    functions = {n: f for n, f in public("torch.nn.init").items() if f.__module__ == "torch.nn.init"}
    assert compare("migrate/torch.md", {name: signature(name, f) for name, f in functions.items()}) == ([], [])


def test_the_table_has_every_name_and_argument_of_keras():
    pytest.importorskip("keras", exc_type=ImportError)
    functions = public("keras.initializers")
    assert compare("migrate/keras.md", {name: signature(name, f) for name, f in functions.items()}) == ([], [])


def test_the_table_has_every_name_and_argument_of_jax():
    pytest.importorskip("jax", exc_type=ImportError)
    functions = public("jax.nn.initializers")
    assert compare("migrate/jax.md", {name: signature(name, f) for name, f in functions.items()}) == ([], [])


@pytest.mark.parametrize(("package", "file"), [("mup", "init.py"), ("timm", "layers/weight_init.py")])
def test_the_table_has_every_name_and_argument_of_other_packages(package, file):
    """The test reads the sources, because neither package is a dependency, and one needs torchvision."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"needs {package}")
    functions = {}
    for node in ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8")).body:
        # mup defines one of its functions within a `try`.
        for function in node.body[::-1] if isinstance(node, ast.Try) else [node]:
            if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
                functions[function.name] = written(function)
    assert len(functions) > 5
    assert compare(f"migrate/{package}.md", functions) == ([], [])


def written(function):
    """Return the signature in a function's source, without the tensor."""
    arguments = function.args.args
    defaults = [None] * (len(arguments) - len(function.args.defaults)) + function.args.defaults
    pairs = zip((argument.arg for argument in arguments), defaults, strict=True)
    shown = [name if d is None else f"{name}={ast.literal_eval(d)!r}" for name, d in pairs if name != "tensor"]
    return f"{function.name}({', '.join(shown)})"


def test_a_name_that_a_table_misses_is_found():
    missing, more = compare("migrate/mup.md", {"normal_": "normal_(mean=0, std=1)", "new_": "new_(std=1)"})
    assert missing == ["new_(std=1)"]
    assert "uniform_(a=0, b=1)" in more


# --- the page with the slider


@pytest.fixture(scope="module")
def runs():
    text = SLIDER.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text)[1])


def test_the_slider_page_follows_from_its_template():
    template = (ROOT / "benchmarks" / "experiments" / "pages" / "slider.html").read_text(encoding="utf-8")
    before, after = template.split("{{ data }}")
    text = SLIDER.read_text(encoding="utf-8")
    assert text.startswith(before)
    assert text.endswith(after)
    assert "://" not in text
    assert len(text) < 200_000


def test_the_slider_shows_the_numbers_of_the_text(runs):
    he = runs["multiples"].index(1.0)
    relu, tanh = runs["runs"]["relu"], runs["runs"]["tanh"]
    assert relu[he]["accuracy"] > 97
    assert 0.1 < relu[he]["activations"][-1] < 10
    assert relu[0]["loss"][-1] > 0.69
    assert relu[0]["gradients"][0] < 1e-9
    assert relu[-1]["lost"]
    assert tanh[-1]["activations"][-1] > 0.9
    assert tanh[-1]["gradients"][0] > 1e3


def test_the_slider_works_in_a_browser(runs):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs a browser")
    for activation, position in (("relu", 20), ("tanh", 36)):
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        run = subprocess.run(
            [*command, f"{SLIDER.as_uri()}#{activation},{position}"], capture_output=True, text=True, timeout=120
        )
        says = re.search(r'id="says"[^>]*>([^<]*)', run.stdout)[1]
        assert f"{runs['runs'][activation][position]['accuracy']}% of the points are right" in says
        drawn = re.findall(r'<polyline class="(\w+)" points="[^"]+,', run.stdout)
        assert drawn == ["activations", "gradients", "loss"]


# --- the citation


def test_the_citation_is_of_this_version():
    lines = dict(line.split(": ", 1) for line in (ROOT / "CITATION.cff").read_text().splitlines() if ": " in line)
    assert lines["version"] == initlib.__version__
    assert f"\n## [{initlib.__version__}] - {lines['date-released']}\n" in (ROOT / "CHANGELOG.md").read_text()
    assert lines["license"] == "Apache-2.0"
    assert lines["cff-version"] == "1.2.0"
