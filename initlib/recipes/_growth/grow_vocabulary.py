"""Recipe of a larger vocabulary: old rows, and new rows that are like the old rows."""

from collections.abc import Sequence

from ..._arguments import integer, positive
from ...plans.fills.loaded import loaded
from ...plans.fills.new_weights import NewRows
from ...plans.fills.values import Fill
from ...plans.parameter import Parameter
from ...schemes._constant import zeros
from ...schemes._normal import normal
from ..rules import Rules, required
from .old_model import OldModel, Source, as_patterns, side_by_side


def grow_vocabulary(
    source: Source,
    tables: str | Sequence[str],
    *,
    rows: int | None = None,
    covariance: bool = False,
    spread: float = 1.0,
) -> Rules:
    """Return the rules of a model with a larger vocabulary: old rows are copied, and new rows resemble the old rows.

    New rows are normal, with the mean and the std of each column of the old rows. With `covariance=True` new rows also
    have the covariance of the old rows. The first draw then reads all old rows, and new rows agree to 1e-6 between
    machines, not bit for bit. A new padding row is 0. Put a rule for the other parameters, `{"*": loaded(source)}`,
    after these rules.

    Args:
        source: the checkpoint of the old model (see `initlib.loaded`).
        tables: the patterns of the tables, of the head, and of the bias of the head.
        rows: the number of old rows to copy, for old tables with unused rows at the end. None copies all rows.
        covariance: True gives new rows the covariance of the old rows.
        spread: factor of the std of new rows, at least 0. With 0, each new row is the mean of the old rows.
            transformers' `resize_token_embeddings` has the default `covariance=True, spread=1e-9**0.5`.

    Returns:
        Rules for the tables.

    Raises:
        OSError: the source cannot be read.
        ValueError: the source is not a checkpoint. `plan` raises PlanError if a table has fewer rows than the old
            table.

    Example:
        >>> import numpy as np
        >>> from initlib import Parameter, plan
        >>> old = {"wte.weight": np.arange(12, dtype="float32").reshape(6, 2)}
        >>> grown = plan([Parameter("wte.weight", (8, 2), kind="table")], grow_vocabulary(old, "wte.weight"))
        >>> table = grown.draw(seed=0)["wte.weight"]
        >>> bool((table[:6] == old["wte.weight"]).all())
        True

    Reference:
        Hewitt. Initializing new word embeddings for pretrained language models. 2021.
    """
    old = OldModel(source)
    patterns = as_patterns(tables, "tables")
    kept = None if rows is None else integer(rows, "rows", least=1)
    noise = normal(std=positive(spread, "spread", or_zero=True))

    def grown(parameter: Parameter) -> Fill:
        name = old.name(parameter)
        if not parameter.shape or not old.shape_of(name):
            raise ValueError(f"the table must have rows, got shape {old.shape_of(name)} and {parameter.shape}")
        stored = old.shape_of(name)[0]
        if not stored or (kept is not None and kept > stored):
            raise ValueError(f"rows must be from 1 to the {stored} rows of the old table, got {kept}")
        count = stored if kept is None else kept
        total, padding = parameter.shape[0], parameter.padding
        if total < count:
            raise ValueError(f"the table must have at least the {count} rows of the old table, got {parameter.shape}")
        kept_rows = loaded(source, name, index=None if count == stored else slice(0, count))
        like_old = NewRows((kept_rows,), noise, covariance)
        every: list[tuple[str, Fill, int]] = [("old", kept_rows, count)]
        if padding is None or padding < count:
            every.append(("added", like_old, total - count))
        else:
            every += [("added", like_old, padding - count), ("padding", zeros, 1)]
            every.append(("last", like_old, total - padding - 1))
        names, fills, sizes = zip(*[part for part in every if part[2]], strict=True)
        return side_by_side(fills, 0, names, sizes)

    return {required(pattern, "grow_vocabulary", "tables", "tables"): grown for pattern in patterns}
