"""How PyTorch is allowed to compute when it is timed. Needs the extra `bench`."""

# The extra `bench` may be absent.
# pyright: reportMissingImports=false

import torch


def allow_what_jax_does() -> None:
    """TF32 on a GPU that has it, and the quickest of cuDNN's algorithms for each shape.

    JAX takes TF32 unless it is told otherwise, and XLA tries the algorithms. On a CPU nothing
    changes.
    """
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
