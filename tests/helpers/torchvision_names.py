"""Imports torchvision, or gives its operators their names, where its own are not for this PyTorch.

transformers and timm import it, and need no more of it than that. A program that is to import them imports this first.
"""

import torch

__all__ = ["OPERATORS"]

OPERATORS = torch.library.Library("torchvision", "FRAGMENT")  # what is defined lasts as long as this

try:
    import torchvision  # noqa: F401
except ImportError:
    pass
except RuntimeError:
    for name in ("nms", "qnms"):
        OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
