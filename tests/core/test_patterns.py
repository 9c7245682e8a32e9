import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlib import Parameter
from initlib.plans.rules.glob import glob
from initlib.plans.rules.patterns import Ordered, as_pattern
from initlib.plans.rules.renaming import as_rename

GLOBS = [
    ("*", "a.b.c", True),
    ("*.weight", "h.0.mlp.weight", True),
    ("*.weight", "weight", False),
    ("*weight", "weight", True),
    ("**.weight", "h.0.weight", True),
    ("h.*.weight", "h.0.mlp.weight", True),
    ("h.?.weight", "h.0.weight", True),
    ("h.?.weight", "h.10.weight", False),
    ("w[13]", "w3", True),
    ("w[13]", "w2", False),
    ("w[!13]", "w2", True),
    ("w[1-3]", "w2", True),
    ("w[]]", "w]", True),
    ("w[!]]", "w]", False),
    ("w[[^\\&&~]", "w^", True),
    ("a.b", "aXb", False),
    ("a+(b)", "a+(b)", True),
    ("h.{i}", "h.{i}", True),
    ("ModelTensor", "weight", False),
]


@pytest.mark.parametrize(("pattern", "name", "matches"), GLOBS, ids=str)
def test_globs_match_names(pattern, name, matches):
    assert bool(glob(pattern).fullmatch(name)) is matches


@given(st.text(alphabet="ab.*?[]!^-\\&0", max_size=8), st.text(alphabet="ab.^-0", max_size=6))
def test_any_text_is_a_glob_or_an_error(pattern, name):
    try:
        expression = glob(pattern)
    except ValueError:  # and no other error
        return
    assert expression.groups == len(re.findall(r"\*+", re.sub(r"\[!?.[^\]]*\]", "", pattern)))
    assert expression.fullmatch(name) is None or "*" in pattern or len(name) <= len(pattern)


@given(st.text(min_size=1, max_size=8).filter(lambda text: not set(text) & set("*?[:")))
def test_a_glob_without_wildcards_is_the_name(name):
    assert glob(name).fullmatch(name)
    assert not glob(name).fullmatch(name + "x")


KERNEL = Parameter("h.0.mlp.weight", (4, 3), axes="OI", kind="kernel", owner="Linear")


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*:kernel", True),
        ("*:Linear", True),
        ("*.weight:kernel", True),
        ("*.bias:kernel", False),
        ("*:LayerNorm", False),
        ("*:linear", False),
        (re.compile(r"h\.\d+\..*"), True),
        (re.compile(r"h\.\d+"), False),
    ],
)
def test_patterns_may_have_kinds_owners_and_regular_expressions(pattern, matches):
    assert as_pattern(pattern, "rules").matches(KERNEL) is matches


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("", ValueError, "a pattern of rules must be a glob, then optionally :kind or :Owner, got ''"),
        (":kernel", ValueError, ":Owner, got ':kernel'"),
        ("*:", ValueError, ":Owner, got '*:'"),
        ("w[13", ValueError, "a pattern must close each bracket, got 'w[13'"),
        ("w[3-1]", ValueError, "a pattern must have only valid sets in brackets, got 'w[3-1]'"),
        (3, TypeError, "rules must have globs or compiled regular expressions as patterns, got 3"),
        (re.compile(b"a"), TypeError, "rules must have globs or compiled regular expressions as patterns"),
    ],
)
def test_wrong_patterns_are_errors(pattern, error, message):
    with pytest.raises(error) as caught:
        as_pattern(pattern, "rules")
    assert message in str(caught.value)


def test_the_first_pattern_counts_and_the_others_are_unused():
    ordered = Ordered({"*.weight": "first", "h.*": "second", "*:bias": "third"}, "rules", lambda value, argument: value)
    assert ordered.first(KERNEL) == "first"
    unused = [(each.pattern.text, len(each.before)) for each in ordered.unused([KERNEL])]
    assert unused == [("h.*", 1), ("*:bias", 2)]
    assert ordered.first(Parameter("other", ())) is None
    pairs = Ordered([("*", 1), ("*", 2)], "rules", lambda value, argument: value)
    assert pairs.first(KERNEL) == 1


@pytest.mark.parametrize("rules", [["*"], [("*", 1, 2)], [3]])
def test_pairs_of_a_wrong_form_are_errors(rules):
    with pytest.raises(
        TypeError, match="rules must be a mapping from patterns to fills, an initializer, a recipe, or a list of these"
    ):
        Ordered(rules, "rules", lambda value, argument: value)


@pytest.mark.parametrize(
    ("rename", "name", "new"),
    [
        (None, "a.b", "a.b"),
        ({"transformer.h.*": "layers.*"}, "transformer.h.3.weight", "layers.3.weight"),
        ({"transformer.h.*": "layers.*"}, "other", "other"),
        ({"h.*.mlp.*": "layers.*.ff.*"}, "h.3.mlp.w.weight", "layers.3.ff.w.weight"),
        ({"h.*.mlp.*": "layers.*"}, "h.3.mlp.w", "layers.3"),
        ({"*.weight": "w", "h.*": "x"}, "h.weight", "w"),
        ({re.compile(r"layers_(\d+)\.(.*)"): r"layers.\1.\2"}, "layers_11.mlp.kernel", "layers.11.mlp.kernel"),
        (str.upper, "a.b", "A.B"),
    ],
    ids=str,
)
def test_rename_gives_new_names(rename, name, new):
    assert as_rename(rename)(name) == new


@pytest.mark.parametrize(
    ("rename", "error", "message"),
    [
        ({"h.*": "layers.*.*"}, ValueError, "rename of 'h.*' must have no more * than the pattern, got 'layers.*.*'"),
        ({"h.*": 3}, TypeError, "the new name of 'h.*' must be a string, got 3"),
        ({3: "h"}, TypeError, "rename's pattern must be a string, got 3"),
        (3, TypeError, "rename must be a mapping by pattern or a function of the name, got 3"),
    ],
)
def test_wrong_renames_are_errors(rename, error, message):
    with pytest.raises(error) as caught:
        as_rename(rename)
    assert message in str(caught.value)


def test_unused_patterns_of_rename_are_found():
    rename = as_rename({"a.*": "b.*", "c": "d"})
    rename("a.x")
    assert rename.unused() == ["c"]


@given(st.text(alphabet="ab.*?", max_size=9), st.text(alphabet="ab.", max_size=9))
def test_a_glob_matches_as_greedy_groups_do(pattern, name):
    greedy = re.sub(r"(\\\*)+", "(.*)", re.escape(pattern)).replace(r"\?", ".")
    expected, match = re.fullmatch(greedy, name), glob(pattern).fullmatch(name)
    assert (match and match.groups()) == (expected and expected.groups())


@pytest.mark.parametrize("pattern", ["*a" * 60 + "b", "*?" * 60 + "b", "*aab*" * 30 + "c", "*" * 1000 + "b"])
def test_a_glob_of_many_stars_takes_no_exponential_time(pattern):
    assert glob(pattern).fullmatch("a" * 400) is None


PARTS = st.lists(st.sampled_from(["a", "b", "ab", "a.b", ".", "*", "?", "[ab]", ".a"]), min_size=1, max_size=4)
RULES = st.lists(st.tuples(PARTS.map("".join), st.sampled_from(["", ":bias", ":Linear"])), min_size=1, max_size=4)


@given(RULES, st.lists(st.text(alphabet="ab.", min_size=1, max_size=6), min_size=1, max_size=4))
def test_the_first_pattern_that_matches_counts_for_names_of_any_ending(rules, names):
    """Rules are looked up by the last component of a name, which must leave out no pattern that matches."""
    patterns = list(dict.fromkeys(name + of for name, of in rules))
    ordered = Ordered([(pattern, pattern) for pattern in patterns], "rules", lambda value, argument: value)
    for name in names:
        for kind, owner in (("bias", "Linear"), ("other", None)):
            parameter = Parameter(name, (2,), kind=kind, owner=owner)
            expected = [each for each in patterns if as_pattern(each, "rules").matches(parameter)]
            assert ordered.first(parameter) == next(iter(expected), None)
