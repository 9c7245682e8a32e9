"""Recipes of vision models."""

from typing import Any

from .._arguments import integer
from ..schemes._constant import zeros
from ..schemes._normal import normal
from ..schemes._uniform import uniform
from ..schemes._variance import glorot_uniform, lecun_normal, variance_scaling
from ..schemes.initializer import Initializer
from .rules import Rules, optional, required

_HE_FAN_OUT = variance_scaling(2.0, "fan_out", "normal")


def resnet(features: int, last: Any = "*.bn3.weight", head: str = "fc") -> Rules:
    """ResNet: He by fan_out, the last scale of each residual branch 0, and PyTorch's own classifier.

    >>> rules = resnet(2048)
    >>> rules["*.bn3.weight"], rules["*:kernel"]
    (constant(value=0.0), variance_scaling(factor=2.0, mode='fan_out', distribution='normal'))

    `features` is the classifier's inputs. `last` are the scales: `*.bn2.weight` where a branch has two convolutions.
    The fan_out of a grouped convolution (ResNeXt) is that of one group; torchvision and timm count the outputs of all
    groups together, so that their std is smaller, by the square root of the number of groups.
    Names as in torchvision and timm (ResNet.init_weights). He, Zhang, Ren, Sun 2015, arXiv 1502.01852; for the zero
    scales: Goyal et al. 2017, arXiv 1706.02677.
    """
    bound = integer(features, "features", least=1) ** -0.5
    return {
        required(last, "resnet", "last scale of a residual branch", "last"): zeros,
        required(f"{head}.*", "resnet", "classifier", "head"): uniform(-bound, bound),
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
    """Fixup, for residual networks without norms: last convolutions and classifier 0, the others of a branch smaller.

    >>> fixup(16)["*.conv1.weight"]  # 16**(-1 / 2)
    scaled(initializer=variance_scaling(factor=2.0, mode='fan_out', distribution='normal'), factor=0.25)

    Branches of m `convolutions` have the initializer times blocks**(-1 / (2 m - 2)), all else the initializer.
    Zhang, Dauphin, Ma 2019, arXiv 1901.09321.
    """
    factor = integer(blocks, "blocks", least=1) ** (-1 / (2 * integer(convolutions, "convolutions", least=2) - 2))
    return {
        required(last, "fixup", "last convolution of a residual branch", "last"): zeros,
        required(inner, "fixup", "other convolution of a residual branch", "inner"): initializer * factor,
        required(f"{head}.*", "fixup", "classifier", "head"): zeros,
        optional("*:kernel"): initializer,
    }


def vit(patch: int = 16, channels: int = 3) -> Rules:
    """Vision Transformer as in timm: normal, the patch embedding PyTorch's own, the class token almost 0.

    >>> vit()["pos_embed"], vit()["cls_token"]
    (normal(mean=0.0, std=0.02), normal(mean=0.0, std=1e-06))

    Names as in timm (init_weights_vit_timm), which cuts at 100 sigmas. Dosovitskiy et al. 2020, arXiv 2010.11929.
    """
    bound = (integer(patch, "patch", least=1) ** 2 * integer(channels, "channels", least=1)) ** -0.5
    return {
        optional("cls_token"): normal(std=1e-6),
        optional("pos_embed"): normal(std=0.02),
        "patch_embed.proj.*": uniform(-bound, bound),
        optional("*:kernel"): normal(std=0.02),
    }


def vit_jax() -> Rules:
    """Vision Transformer as its authors' JAX code has it: Glorot, LeCun for the patches, a head of zeros.

    >>> vit_jax()["head.weight"], vit_jax()["*.mlp.*:bias"]
    (constant(value=0.0), normal(mean=0.0, std=1e-06))

    Names as in timm (init_weights_vit_jax), where the class token is normal(std=1e-6) and packed queries, keys and
    values count as one kernel; with axes "(3 O)I" each has its own fans, as in the authors' code, which keeps them
    apart. Dosovitskiy et al. 2020, arXiv 2010.11929.
    """
    return {
        optional("cls_token"): normal(std=1e-6),
        optional("pos_embed"): normal(std=0.02),
        "patch_embed.proj.weight": lecun_normal,
        optional("head.weight"): zeros,
        optional("*.mlp.*:bias"): normal(std=1e-6),
        optional("*:kernel"): glorot_uniform,
    }
