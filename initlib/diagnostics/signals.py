"""Report of `signals`: measurements of activations and parameters, with a verdict on each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .._public import public
from ..plans.text.folding import fold
from .advice import advise
from .measurements import Activation, ParameterStats
from .table import Report, number, size, table
from .verdicts import ILL, judge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS: dict[type, str] = {Activation: "activation", ParameterStats: "parameter"}
# The cells of a row, by the heads of the columns.
ACTIVATION_COLUMNS: dict[str, Callable[[Activation], str]] = {
    "owner": lambda row: row.owner,
    "shape": lambda row: size(row.shape),
    "mean": lambda row: number(row.mean),
    "std": lambda row: number(row.std),
    "signal": lambda row: number(row.signal),
    "dead": lambda row: f"{row.dead:.0%}",
    "gradient std": lambda row: number(row.gradient_std),
}
PARAMETER_COLUMNS: dict[str, Callable[[ParameterStats], str]] = {
    "shape": lambda row: size(row.shape),
    "std": lambda row: number(row.std),
    "gradient std": lambda row: number(row.gradient_std),
    "gradient:weight": lambda row: number(row.gradient_ratio),
    "update:data": lambda row: number(row.update_ratio),
    "top singular value": lambda row: number(row.top_singular_value),
}


@public("initlib")
class SignalReport(Report):
    """Report of `signals`: the activations in the order of execution, then the parameters.

    A printed report begins with the verdict, the first unhealthy layer, and advice. Repeated layers with the same
    verdict are one row, with the numbers of the first and the last layer.

    The *signal* of an activation is the part that depends on the input: the std over the batch, as a root mean square
    over units. Biases do not change the signal. The head is the last layer with weights. The verdicts:

    - *vanishing*: the signal is below min(1, signal of the input) / 100. For a gradient, the norm is below 1/100 of the
      norm before the head.
    - *exploding*: the signal is above 150 * max(1, signal of the input), or a number is not finite. For a gradient, the
      norm is above 150 times the norm before the head.
    - *dead*: all units, or clearly more than half of the units, have the same value for every input. Parameters are
      dead if the loss that you pass has the gradient 0 for every parameter.
    - *silent*: all units have the same value for every input, and lie on a branch or in a head whose weights are 0.
      Silent units, and a small signal on a branch, are healthy.

    In the experiment "verdicts" of the documentation, networks within these limits learn.

    Args:
        activations: the measured activations, in the order of execution.
        parameters: the measured parameters.
        input_std: the std of the input; by default the signal of the first activation.
        loss: the loss of the batch.
        mean_square_loss: True if the loss is the mean square of the output. Then the gradients of a normalized output
            have no verdict.

    Example:
        >>> import numpy as np
        >>> from initlib.diagnostics.measurements import activation
        >>> x = np.random.default_rng(0).normal(size=(64, 256))
        >>> rows = [activation(f"{k}.fc", "Linear", x / 20**k) for k in range(4)]
        >>> report = SignalReport(rows, input_std=1.0)
        >>> print(report.summary())
        verdict: vanishing: 2 of 4 activations, 0 of 0 parameters
        first: 2.fc: signal 0.00247 is 0.00247 of the input's; healthy from 0.01
        do: scale each layer by a batch (LSUV), or find the gains with recipes.analytic(model, batch)
        >>> report.healthy, report.activations[-1].verdict
        (False, 'vanishing')

    Reference:
        Hanin, Rolnick. How to start training: the effect of initialization and architecture. 2018. arXiv:1803.01719.
    """

    def __init__(
        self,
        activations: Sequence[Activation],
        parameters: Sequence[ParameterStats] = (),
        *,
        input_std: float | None = None,
        loss: float | None = None,
        mean_square_loss: bool = False,
    ) -> None:
        self.activations, self.parameters = judge(activations, parameters, input_std, mean_square_loss)
        self.input_std, self.loss = input_std, loss

    @property
    def rows(self) -> list[Activation | ParameterStats]:
        """Return the activations, then the parameters."""
        return [*self.activations, *self.parameters]

    @property
    def ill(self) -> list[Activation | ParameterStats]:
        """Return the activations and parameters whose verdict is dead, exploding or vanishing."""
        return [row for row in self.rows if row.verdict in ILL]

    @property
    def healthy(self) -> bool:
        """Return True if no activation or parameter is dead, exploding or vanishing."""
        return not self.ill

    def summary(self) -> str:
        """Return three lines (the verdict, the first unhealthy layer, and advice), or one line for a healthy model."""
        ill = self.ill
        if not ill:
            return f"verdict: healthy: {len(self.activations)} activations, {len(self.parameters)} parameters"
        counts = [
            f"{sum(row.verdict in ILL for row in rows)} of {len(rows)} {name}"
            for rows, name in ((self.activations, "activations"), (self.parameters, "parameters"))
        ]
        words = " and ".join(sorted({row.verdict for row in ill}))
        do = advise(self.activations, self.parameters) or "look at the gradient of this parameter"
        return f"verdict: {words}: {', '.join(counts)}\nfirst: {ill[0].name}: {ill[0].reason}\ndo: {do}"

    def __str__(self) -> str:
        tables = [_table("activation", self.activations, ACTIVATION_COLUMNS)]
        if self.parameters:
            tables.append(_table("parameter", self.parameters, PARAMETER_COLUMNS))
        return "\n\n".join([self.summary(), *tables])

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries. JSON can store the rows if all numbers are finite.

        Returns:
            The activations, then the parameters; "kind" is "activation" or "parameter".

        Example:
            >>> import numpy as np
            >>> from initlib.diagnostics.measurements import activation
            >>> SignalReport([activation("fc", "Linear", np.eye(2))]).to_dicts()[0]["std"]
            0.5
        """
        return [{"kind": KINDS[type(row)], **asdict(row)} for row in self.rows]

    def assert_healthy(self) -> None:
        """Raise AssertionError if an activation or a parameter is unhealthy. Call this method in tests of a model.

        The message lists every unhealthy activation and parameter.

        Raises:
            AssertionError: an activation or a parameter is dead, exploding or vanishing.
        """
        if self.ill:
            lines = "\n".join(f"  {row.name}: {verdict(row)}" for row in self.ill)
            raise AssertionError(f"{len(self.ill)} activations or parameters are unhealthy:\n{lines}")

    def plot(
        self,
        others: Mapping[str, "SignalReport"] | None = None,
        *,
        label: str = "measured",
        predicted: Mapping[str, Sequence[float]] | None = None,
        owner: str | None = None,
    ) -> "Figure":
        """Draw the std of the activations and of their gradients over depth, on logarithmic axes.

        Args:
            others: more reports, by label.
            label: the label of this report.
            predicted: predicted stds by label: a sequence with one std for each plotted activation, such as the square
                root of `propagation.lengths`.
            owner: the class of the layers to plot, such as "Linear"; None plots all activations.

        Returns:
            A matplotlib `Figure`.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: no activation has that owner, or a prediction has another length.
        """
        from .pictures import signals

        drawn = {}
        for name, report in {label: self, **(others or {})}.items():
            drawn[name] = [row for row in report.activations if owner in (None, row.owner)]
            if not drawn[name]:
                owners = ", ".join(sorted({row.owner for row in report.activations}))
                raise ValueError(f"owner must be one of {owners}, got {owner!r}")
        longest = max(map(len, drawn.values()))
        for name, stds in (predicted or {}).items():
            if len(stds) != longest:
                raise ValueError(
                    f"predicted[{name!r}] must have {longest} stds, one for each activation, got {len(stds)}"
                )
        return signals(drawn, predicted or {})


def verdict(row: Activation | ParameterStats) -> str:
    """Return the verdict and its reason."""
    return f"{row.verdict}: {row.reason}" if row.reason else row.verdict


def _table(head: str, rows: Sequence[Activation | ParameterStats], columns: Mapping[str, Callable[[Any], str]]) -> str:
    """Return the table of rows; those that differ only in the numbers of their names are one row."""
    folded = []
    for name, places in fold((row.name, (getattr(row, "owner", ""), row.shape, row.verdict)) for row in rows):
        first, last = rows[places[0]], rows[places[-1]]
        cells = [_range(cell(first), cell(last)) for cell in columns.values()]
        folded.append([name, *cells, verdict(first)])
    return table([head, *columns, "verdict"], folded)


def _range(first: str, last: str) -> str:
    return first if first == last else f"{first}..{last}"
