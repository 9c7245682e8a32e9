"""Recipes of vision models."""

from functools import partial
from typing import Any

from .._arguments import integer
from ..axes import canonical, fans
from ..plans.parameter import Parameter
from ..schemes._constant import zeros
from ..schemes._normal import normal
from ..schemes._uniform import uniform
from ..schemes._variance import glorot_uniform, lecun_normal, variance_scaling
from ..schemes.initializer import Initializer
from .rules import Rules, optional, outputs, required

_HE_FAN_OUT = variance_scaling(2.0, "fan_out", "normal")


def resnet(features: int, last: Any = "*.bn3.weight", head: str = "fc") -> Rules:
    """Return the rules of ResNet: He normal by fan_out, 0 for the last scale of a branch, PyTorch's own classifier.

    The fan_out of a grouped convolution (ResNeXt) is the fan_out of one group. torchvision and timm count the outputs
    of all groups, so the std of torchvision and timm is smaller by the factor sqrt(groups). The names follow
    torchvision and timm (ResNet.init_weights).

    Args:
        features: the number of inputs of the classifier.
        last: the pattern of the last scale of each branch; `"*.bn2.weight"` for branches of two convolutions.
        head: the name of the classifier.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        ValueError: features is below 1. `plan` raises PlanError if the classifier has another number of inputs.

    Example:
        >>> rules = resnet(2048)
        >>> rules["*.bn3.weight"], rules["*:kernel"]
        (constant(value=0.0), variance_scaling(factor=2.0, mode='fan_out', distribution='normal'))

    Reference:
        He, Zhang, Ren, Sun. Delving deep into rectifiers. 2015. arXiv:1502.01852.
        Goyal et al. Accurate, large minibatch SGD. 2017. arXiv:1706.02677. (The scales of zero.)
    """
    features = integer(features, "features", least=1)
    bound = features**-0.5

    def classifier(parameter: Parameter) -> Initializer:
        if parameter.axes is not None and len(parameter.shape) > 1:
            fan_in = fans(parameter.shape, parameter.axes).fan_in
            if fan_in != features:
                raise ValueError(
                    f"features of recipes.resnet must be the fan_in of the head, got {features} for {fan_in}"
                )
        return uniform(-bound, bound)

    return {
        required(last, "resnet", "last scale of a residual branch", "last"): zeros,
        required(f"{head}.*", "resnet", "classifier", "head"): classifier,
        optional("*:kernel"): _HE_FAN_OUT,
    }


def fixup(
    blocks: int,
    convolutions: int = 2,
    *,
    inner: Any = "*.conv1.weight",
    last: Any = "*.conv2.weight",
    head: str = "fc",
    initializer: Initializer = _HE_FAN_OUT,
) -> Rules:
    """Return the rules of Fixup, for residual networks without normalization layers.

    Args:
        blocks: the number of residual branches.
        convolutions: the number m of convolutions of a branch.
        inner: the pattern of all convolutions of a branch but the last. The weights are multiplied by
            `blocks**(-1 / (2 m - 2))`.
        last: the pattern of the last convolution of each branch, which starts at 0.
        head: the name of the classifier, which starts at 0.
        initializer: the initializer of all other kernels.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        ValueError: blocks is below 1, or convolutions is below 2.

    Example:
        >>> fixup(16)["*.conv1.weight"]  # 16**(-1 / 2)
        scaled(initializer=variance_scaling(factor=2.0, mode='fan_out', distribution='normal'), factor=0.25)

    Reference:
        Zhang, Dauphin, Ma. Fixup initialization. 2019. arXiv:1901.09321.
    """
    blocks, convolutions = integer(blocks, "blocks", least=1), integer(convolutions, "convolutions", least=2)
    factor = blocks ** (-1 / (2 * convolutions - 2))
    return {
        outputs(last, "fixup", blocks, argument="last", count="blocks", branches=1): zeros,
        required(inner, "fixup", "other convolution of a residual branch", "inner"): initializer * factor,
        required(f"{head}.*", "fixup", "classifier", "head"): zeros,
        optional("*:kernel"): initializer,
    }


def vit(patch: int = 16, channels: int = 3) -> Rules:
    """Return the rules of timm's Vision Transformer: normal, PyTorch's own patch embedding, and a class token near 0.

    The names follow timm (init_weights_vit_timm). timm truncates at 100 sigmas, which changes no weight in practice.

    Args:
        patch: the width of a patch, in pixels.
        channels: the number of channels of an image.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        ValueError: an integer argument is below 1. `plan` raises PlanError if the patch embedding has another number of
            inputs than `patch**2 * channels`.

    Example:
        >>> vit()["pos_embed"], vit()["cls_token"]
        (normal(mean=0.0, std=0.02), normal(mean=0.0, std=1e-06))

    Reference:
        Dosovitskiy et al. An image is worth 16x16 words. 2020. arXiv:2010.11929.
    """
    embedding = partial(_patch_embedding, integer(patch, "patch", least=1), integer(channels, "channels", least=1))
    return {
        optional("cls_token"): normal(std=1e-6),
        optional("pos_embed"): normal(std=0.02),
        required("patch_embed.proj.*", "vit", "patch embedding"): embedding,
        optional("*:kernel"): normal(std=0.02),
    }


def _patch_embedding(patch: int, channels: int, parameter: Parameter) -> Initializer:
    """Return the initializer of the kernel or the bias, or raise ValueError for a kernel with another fan_in."""
    expected = patch**2 * channels
    if parameter.axes is not None and len(parameter.shape) > 1:
        fan_in = fans(parameter.shape, parameter.axes).fan_in
        if fan_in != expected:
            field = canonical(parameter.shape, parameter.axes).field
            size = (
                field[0] if len(field) == 2 and field[0] == field[1] else 1
            )  # without squares, channels is the fan_in
            raise ValueError(
                "patch**2 * channels of recipes.vit must be the fan_in of the patch embedding, got "
                f"{patch}**2 * {channels} = {expected} for {fan_in}. "
                f"Pass patch={size}, channels={fan_in // size**2}"
            )
    bound = expected**-0.5
    return uniform(-bound, bound)


def vit_jax() -> Rules:
    """Return the rules of the Vision Transformer in its authors' JAX code: Glorot, LeCun for patches, and a zero head.

    The names follow timm (init_weights_vit_jax). In timm, packed queries, keys and values count as one kernel. For
    separate fans of queries, keys and values, as in the authors' code, pass axes "(3 O)I".

    Returns:
        Rules by pattern, for `rules=`.

    Example:
        >>> vit_jax()["head.weight"], vit_jax()["*.mlp.*:bias"]
        (constant(value=0.0), normal(mean=0.0, std=1e-06))

    Reference:
        Dosovitskiy et al. An image is worth 16x16 words. 2020. arXiv:2010.11929.
    """
    return {
        optional("cls_token"): normal(std=1e-6),
        optional("pos_embed"): normal(std=0.02),
        required("patch_embed.proj.weight", "vit_jax", "patch embedding"): lecun_normal,
        optional("head.weight"): zeros,
        optional("*.mlp.*:bias"): normal(std=1e-6),
        optional("*:kernel"): glorot_uniform,
    }
