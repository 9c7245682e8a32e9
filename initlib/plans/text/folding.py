"""Folding: names that differ only in their numbers, as one."""

import re
from collections.abc import Hashable, Iterable
from operator import contains

_QUOTED = re.compile(r""" "[^"]*" | '[^']*' """, re.VERBOSE)
_NUMBER = re.compile(r"(?<![0-9])(0|[1-9][0-9]*)(?![0-9])")  # with a leading zero it could not be written again


def fold(rows: Iterable[tuple[str, Hashable]]) -> list[tuple[str, list[int]]]:
    """Return the names, each with the places of its rows. Names of equal contents are folded into one.

    >>> fold([("h.0.w", "a"), ("h.0.b", "b"), ("h.1.w", "a"), ("h.1.b", "b"), ("h.2.w", "c")])
    [('h.{0..1}.w', [0, 2]), ('h.{0..1}.b', [1, 3]), ('h.2.w', [4])]
    """
    groups: dict[tuple[tuple[str, ...], Hashable], dict[tuple[int, ...], int]] = {}
    alone: list[tuple[str, list[int]]] = []
    for place, (name, content) in enumerate(rows):
        split = _NUMBER.split(name)
        group = groups.setdefault((tuple(split[::2]), content), {})
        numbers = tuple(map(int, split[1::2]))
        if numbers in group:  # the same name twice
            alone.append((name, [place]))
        else:
            group[numbers] = place
    folded = alone
    for (texts, _), group in groups.items():
        for product in _products(frozenset(group)):
            places = sorted(place for numbers, place in group.items() if all(map(contains, product, numbers)))
            between = (*(_text(numbers) for numbers in product), "")
            folded.append(("".join(a + b for a, b in zip(texts, between, strict=True)), places))
    return sorted(folded, key=lambda row: row[1][0])


def listed(names: Iterable[str], most: int) -> str:
    """Return the folded names as text, at most so many of them.

    >>> listed(["h.0.w", "h.1.w", "a", "b.0", "b.1"], 2)
    'h.{0..1}.w, a and 2 more'
    """
    folded = fold((name, None) for name in names)
    text = ", ".join(name for name, _ in folded[:most])
    more = sum(len(places) for _, places in folded[most:])
    return f"{text} and {more} more" if more else text


def unnumbered(text: str) -> str:
    """Return a text without the numbers in its quoted names.

    >>> unnumbered('loaded("old", "h.7.w") * 0.5')
    'loaded("old", "h.#.w") * 0.5'
    """
    return _QUOTED.sub(lambda quoted: re.sub(r"[0-9]+", "#", quoted[0]), text)


def merged(texts: Iterable[str]) -> str:
    """Return texts that differ in the numbers of their quoted names as one text.

    >>> merged(['loaded("old", "h.0.w")', 'loaded("old", "h.0.w")', 'loaded("old", "h.1.w")'])
    'loaded("old", "h.{0..1}.w")'
    """
    first, *others = dict.fromkeys(texts)
    if not others:
        return first
    names = zip(*map(_QUOTED.findall, (first, *others)), strict=True)
    together = ([name for name, _ in fold((name, None) for name in dict.fromkeys(each))] for each in names)
    short = iter([each[0] if len(each) == 1 else f"{each[0]} … {each[-1]}" for each in together])
    return _QUOTED.sub(lambda quoted: next(short), first)


def _products(tuples: frozenset[tuple[int, ...]]) -> list[tuple[tuple[int, ...], ...]]:
    """Return the tuples as products of sets of numbers, one set for each place."""
    if tuples == {()}:
        return [()]
    rests: dict[int, set[tuple[int, ...]]] = {}
    for first, *rest in sorted(tuples):
        rests.setdefault(first, set()).add(tuple(rest))
    firsts: dict[frozenset[tuple[int, ...]], list[int]] = {}
    for first, rest_set in rests.items():
        firsts.setdefault(frozenset(rest_set), []).append(first)
    return [(tuple(numbers), *rest) for tail, numbers in firsts.items() for rest in _products(tail)]


def _text(numbers: tuple[int, ...]) -> str:
    """Return sorted numbers as text: 7, {0..31}, {0..30..2}, {0,1,5..9}."""
    if len(numbers) == 1:
        return str(numbers[0])
    step = numbers[1] - numbers[0]
    if step > 1 and len(numbers) > 2 and numbers == tuple(range(numbers[0], numbers[-1] + 1, step)):
        return f"{{{numbers[0]}..{numbers[-1]}..{step}}}"
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return "{" + ",".join("..".join(map(str, run)) for run in runs) + "}"
