import re
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from initlib.plans.text.folding import fold

NAMES = [
    (["h.0.w", "h.1.w", "h.2.w"], ["h.{0..2}.w"]),
    (["h.0.w", "h.2.w", "h.4.w"], ["h.{0..4..2}.w"]),
    (["h.0.w", "h.1.w", "h.5.w"], ["h.{0..1,5}.w"]),
    (["h.1.w", "h.3.w"], ["h.{1,3}.w"]),
    (["a", "b"], ["a", "b"]),
    (["a", "a"], ["a", "a"]),
    (["layer01.w", "layer02.w"], ["layer01.w", "layer02.w"]),
    ([f"h.{i}.e.{j}.w" for i in range(2) for j in range(3)], ["h.{0..1}.e.{0..2}.w"]),
    (["h.0.e.0", "h.0.e.1", "h.1.e.0"], ["h.0.e.{0..1}", "h.1.e.0"]),
]


def test_names_that_differ_in_numbers_are_folded():
    for names, folded in NAMES:
        assert [name for name, _ in fold((name, None) for name in names)] == folded


def test_names_with_different_contents_are_not_folded():
    assert fold([("h.0", "a"), ("h.1", "b"), ("h.2", "a")]) == [("h.{0,2}", [0, 2]), ("h.1", [1])]


def unfolded(name):
    """Return the names that a folded name stands for."""
    texts = re.split(r"(\{[^}]*\})", name)
    choices = []
    for text in texts:
        if text.startswith("{"):
            numbers = []
            for run in text[1:-1].split(","):
                ends = [int(end) for end in run.split("..")]
                step = ends[2] if len(ends) == 3 else 1
                numbers += range(ends[0], (ends[1] if len(ends) > 1 else ends[0]) + 1, step)
            choices.append([str(number) for number in numbers])
        else:
            choices.append([text])
    return ["".join(choice) for choice in product(*choices)]


@given(
    st.lists(
        st.tuples(st.sampled_from(["h.{}.e.{}.w", "h.{}.x{}", "{}{}"]), st.integers(0, 12), st.integers(0, 3)),
        unique=True,
        max_size=30,
    ),
    st.integers(1, 3),
)
def test_every_row_is_in_one_fold(rows, kinds):
    names = [template.format(i, j) for template, i, j in rows]
    content = {name: len(name) * (i + 1) % kinds for name, (_, i, _) in zip(names, rows, strict=True)}
    names = list(dict.fromkeys(names))
    folded = fold((name, content[name]) for name in names)
    assert sorted(place for _, places in folded for place in places) == list(range(len(names)))
    assert [places[0] for _, places in folded] == sorted(places[0] for _, places in folded)
    for name, places in folded:
        assert sorted(unfolded(name)) == sorted(names[place] for place in places)
        assert len({content[names[place]] for place in places}) == 1
