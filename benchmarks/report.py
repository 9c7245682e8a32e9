"""Page of the results in Markdown, from the results alone."""

from typing import Any

from . import disk, networks, peers

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def duration(seconds: float) -> str:
    """Return a time with three digits and a unit."""
    for unit, name in UNITS:
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 1e-6:.3g} {UNITS[-1][1]}"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def against_ours(results: dict[str, dict[str, float]]) -> str:
    """Return a table of medians, with the ratio to initlib in parentheses."""
    names = list(dict.fromkeys(name for case in results.values() for name in case))
    rows = []
    for case, of in results.items():
        cells = []
        for name in names:
            ratio = of[name] / of[peers.OURS] if name in of else 0
            cells.append(
                "" if name not in of else duration(of[name]) + (f" ({ratio:.2g} x)" if name != peers.OURS else "")
            )
        rows.append([case, *cells])
    return table(["", *names], rows)


def page(data: dict[str, Any]) -> str:
    """Return RESULTS.md."""
    results, parts = data["results"], []
    say = parts.append
    say("# What a draw costs\n")
    say(
        "Made by `python -m benchmarks`: every contender draws in turn, in one process, round after round, each time\n"
        "after a call that is not timed; from 2**28 weights on, and for the peaks of memory, in a process of its own.\n"
        "Figures are medians of wall time, each draw into fresh memory unless the table states otherwise; in\n"
        "parentheses: how many times as long as initlib the draw takes. Compare figures of one table only: tables may\n"
        "come from different runs, and the speed of a machine varies.\n"
    )
    say(table(["", ""], [[key, str(value)] for key, value in data["machine"].items()]))
    if "targets" in data:
        say("## Targets\n")
        rows = [
            [draw, against, target, measured, "yes" if ok else "**no**"]
            for draw, against, target, measured, ok in data["targets"]
        ]
        say(table(["draw", "against", "target", "measured", "holds"], rows))
        say("What limits the rows that do not hold, and what was tried: [LIMITS.md](LIMITS.md).\n")
    if "in_place" in results:
        say("## One weight in place, all threads\n\nInto memory that was written before; of np.full, `fill`.\n")
        say("![ratios](pictures/in_place.svg)\n")
        say(against_ours(results["in_place"]))
    if "fresh" in results:
        say("## One weight in fresh memory, all threads\n\nThe system clears it page by page, meanwhile.\n")
        say("![ratios](pictures/fresh.svg)\n")
        say(against_ours(results["fresh"]))
    if "adapters" in results:
        say("## Inside each framework\n\nIts own initializer, and ours for it; both make the framework's own arrays.\n")
        rows = [
            [case, own, duration(of[own]), duration(of[adapter]), f"{of[own] / of[adapter]:.2g} x"]
            for case, of in results["adapters"].items()
            for own, adapter in peers.IN.items()
            if own in of
        ]
        say(table(["weight", "framework", "its own", "ours", "faster"], rows))
    if results.get("one_thread"):
        say("## One weight in place, one thread\n")
        say(against_ours(results["one_thread"]))
    if "models" in results:
        say("## The weight matrices of whole models\n\n![ratios](pictures/models.svg)\n")
        say(against_ours(results["models"]))
    if "networks" in results:
        say(
            "## Whole networks\n\nBy `initialize`, and by what the network's own package has; PyTorch's are in place.\n"
        )
        times = {
            case: {name: of[name] for name in of if name in networks.WAYS} for case, of in results["networks"].items()
        }
        say(against_ours(times))
        rows = [
            [case, name, f"{of[name]:.0%}" if of[name] in (0, 1) else duration(of[name])]
            for case, of in results["networks"].items()
            for name in of
            if name not in networks.WAYS
        ]
        say(table(["network", "what", "measured"], rows))
    if results.get("construction"):
        say("## From the class of a network to an initialized model\n")
        say("By its own constructor, and by a skeleton and `initialize`, which also makes the memory.\n")
        say(against_ours(results["construction"]))
    if results.get("many_tensors"):
        say("## Many tensors in place\n")
        say("`normal(std=0.02)`: by `initialize` with its plan, and by `normal_` for one tensor after the other.\n")
        say(against_ours(results["many_tensors"]))
    if "planning" in results:
        say("## Many small parameters\n\nTime for each parameter, or for each call.\n")
        rows = [[case, name, duration(of[name])] for case, of in results["planning"].items() for name in of]
        say(table(["case", "what", "time"], rows))
    if "growth" in results:
        say("## Growth with size\n\n![growth](pictures/growth.svg)\n")
        say(against_ours(results["growth"]))
    if "storage" in results:
        say("## Other storages, and parts of a weight\n\nhe_normal in float32; the share of the plain draw's time.\n")
        rows = [
            [case, name, duration(seconds), f"{seconds / of['plain']:.3f}"]
            for case, of in results["storage"].items()
            for name, seconds in of.items()
        ]
        say(table(["weight", "draw", "time", "share"], rows))
    if "reference" in results:
        say("## Without the kernel\n")
        say(against_ours(results["reference"]))
    if results.get("memory"):
        say("## Peak memory\n\nOf a draw of 2**26 float32 weights, in units of the weight's own size.\n")
        rows = [[name, f"{share:.2f}"] for of in results["memory"].values() for name, share in of.items()]
        say(table(["", "peak"], rows))
    if "disk" in results:
        say("## A checkpoint on disk\n\nWritten and synced by `Plan.write`; dd writes as many zeros.\n")
        say(against_ours({disk.CASE: results["disk"][disk.CASE]}))
        say(f"Peak of memory, mapped files included: {results['disk'][disk.PEAK][peers.OURS]:.0f} MB.\n")
    if "imports" in results:
        say("## Import\n")
        rows = [[name, duration(seconds)] for name, seconds in results["imports"]["import"].items()]
        say(table(["module", "time"], rows))
    if results.get("instructions"):
        say("## Instructions a weight\n\nCounted by Valgrind inside the kernel: no machine's mood is in them.\n")
        names = list(next(iter(results["instructions"].values())))
        rows = [[draw, *(f"{of[name]:.2f}" for name in names)] for draw, of in results["instructions"].items()]
        say(table(["draw", *names], rows))
    return "\n".join(parts)
