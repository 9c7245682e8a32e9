"""An import of torchvision, or definitions of the names of its operators if its wheel does not fit this PyTorch.

transformers and timm import torchvision, and need only these names. Import this file before transformers or timm.
"""

import torch

__all__ = ["OPERATORS"]

OPERATORS = torch.library.Library("torchvision", "FRAGMENT")  # the definitions last as long as this object

try:
    import torchvision  # noqa: F401
except ImportError:
    pass
except RuntimeError:
    for name in ("nms", "qnms"):
        OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
