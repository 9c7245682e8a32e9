"""Targets of the benchmarks: each is a ratio of two medians of one comparison."""

from typing import NamedTuple

from . import disk, many_tensors, networks, peers
from .sections import LARGE, MEDIUM, TINY, Results, name_of

WHOLE, CONV = "4096x8192", "512x512x3x3"


class Target(NamedTuple):
    """A target: the contender is at least `least` times as fast as `against`, or takes at most the share `most`."""

    section: str
    case: str
    contender: str
    against: str
    least: float | None = None
    most: float | None = None


def _faster(section: str, case: str, **least: float) -> list[Target]:
    names = {"torch": peers.TORCH, "keras": peers.KERAS, "jax": peers.JAX_JIT, "numpy": peers.NUMPY}
    return [Target(section, case, peers.OURS, names[peer], least=value) for peer, value in least.items()]


TARGETS = [
    *_faster("in_place", name_of("he_normal", LARGE), torch=60, numpy=10),
    *_faster("in_place", name_of("he_normal", LARGE, "bfloat16"), torch=60),
    *_faster("in_place", name_of("glorot_uniform", LARGE), torch=5),
    *_faster("in_place", name_of("kaiming_normal", LARGE), torch=2.5),
    *_faster("in_place", name_of("he_normal", MEDIUM), torch=15),
    *_faster("in_place", name_of("he_normal", TINY), torch=3),
    *_faster("fresh", name_of("he_normal", LARGE), jax=8),
    Target("fresh", name_of("he_normal", LARGE), peers.OURS, peers.FLOOR, most=2.0),
    *_faster("fresh", name_of("glorot_uniform", LARGE), jax=8),
    *_faster("fresh", name_of("he_normal", MEDIUM), keras=15, jax=15),
    Target("storage", WHOLE, "OI", "plain", most=1.3),
    Target("storage", WHOLE, "(4 O)I", "plain", most=1.3),
    Target("storage", CONV, "OIHW", "plain", most=1.3),
    Target("storage", WHOLE, "1/8 of the rows", "plain", most=1 / 7),
    Target("storage", WHOLE, "1/8 of the columns", "plain", most=1 / 7),
    *(
        Target("adapters", name_of(scheme, shape), peers.IN[own], own, least=least)
        for own, least in ((peers.JAX, 8), (peers.JAX_JIT, 1))
        for scheme in ("he_normal", "glorot_uniform")
        for shape in (LARGE, MEDIUM, TINY)
    ),
    Target("adapters", name_of("he_normal", TINY), peers.IN[peers.TORCH], peers.TORCH, least=1),
    Target("adapters", name_of("he_normal", TINY), peers.IN[peers.KERAS], peers.KERAS, least=1),
    Target("networks", networks.GPT2, peers.OURS, networks.OWN, least=5),
    Target("networks", networks.VIT, peers.OURS, networks.OWN, least=25),
    Target("networks", networks.LLAMA, peers.OURS, networks.OWN, least=4),
    Target("networks", networks.RESNET, peers.OURS, networks.OWN, least=3),
    Target("networks", networks.KERAS_RESNET, peers.OURS, networks.BUILT, least=1),
    Target("networks", networks.FLAX_GPT2, peers.OURS, networks.JITTED, least=1),
    Target("construction", networks.GPT2, peers.OURS, networks.OWN, least=8),
    Target("construction", networks.VIT, peers.OURS, networks.OWN, least=6),
    Target("construction", networks.LLAMA, peers.OURS, networks.OWN, least=12),
    Target("construction", networks.RESNET, peers.OURS, networks.OWN, least=3.5),
    *(
        Target("many_tensors", many_tensors.name_of(count, size), peers.OURS, many_tensors.ONE, most=most)
        for (count, size), most in zip(many_tensors.CASES, (1.25, 1.25, 2), strict=False)
    ),
    *(
        Target("many_tensors", many_tensors.name_of(count, size), peers.OURS, peers.TORCH, most=3 if size == 8 else 1)
        for count, size in many_tensors.CASES
    ),
    Target("disk", disk.CASE, peers.OURS, disk.DD, least=0.8),
    Target("reference", name_of("he_normal", (1024, 1024)), peers.REFERENCE, peers.TORCH, least=1),
]
IMPORT_SECONDS = 0.020  # beyond NumPy


class Row(NamedTuple):
    draw: str
    against: str
    target: str
    measured: str
    holds: bool


def check(results: dict[str, Results]) -> list[Row]:
    """Return every target whose two sides were measured."""
    rows = []
    for target in TARGETS:
        case = results.get(target.section, {}).get(target.case, {})
        if target.contender not in case or target.against not in case:
            continue
        share = case[target.contender] / case[target.against]
        what = target.case if target.contender == peers.OURS else f"{target.case}: {target.contender}"
        what += {
            "in_place": ", in place",
            "fresh": ", fresh memory",
            "construction": ", from its class",
            "many_tensors": ", in place",
        }.get(target.section, "")
        if target.least is not None:
            rows.append(
                Row(what, target.against, f"{target.least:g} x faster", f"{1 / share:.1f} x", 1 / share >= target.least)
            )
        elif target.most is not None:
            rows.append(
                Row(
                    what, target.against, f"at most {target.most:.3g} of its time", f"{share:.3f}", share <= target.most
                )
            )
    seconds = results.get("imports", {}).get("import", {}).get("initlib beyond numpy")
    if seconds is not None:
        limit = f"under {IMPORT_SECONDS * 1e3:.0f} ms"
        rows.append(Row("import initlib", "numpy imported", limit, f"{seconds * 1e3:.1f} ms", seconds < IMPORT_SECONDS))
    return rows
