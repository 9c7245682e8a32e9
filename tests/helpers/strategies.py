"""Hypothesis strategies that several files of tests use."""

from hypothesis import strategies as st


@st.composite
def small_boxes(draw):
    """Draw a shape of a few weights, its axes, and an index."""
    letters = draw(st.permutations("BIOIOHWD"))
    axes = [(letter, draw(st.integers(1, 3)), draw(st.integers(1, 7))) for letter in letters[: draw(st.integers(1, 5))]]
    shape = tuple(n * size for _, n, size in axes)
    entries = []
    for size in shape:
        ends = st.none() | st.integers(-size - 1, size + 1)
        entry = st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 3, -1, -2]))
        entries.append(draw(entry | st.integers(-size, size - 1)))
    return shape, "".join(letter if n == 1 else f"({n} {letter})" for letter, n, _ in axes), tuple(entries)
