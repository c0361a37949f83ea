"""Seeds, threads and kernels, set so that the same job gives the same bits."""

from __future__ import annotations

import os


def seed_everything(seed: int) -> None:
    """Seed torch, use the job's number of threads, and allow deterministic kernels alone.

    An operation that has none ends the job. On a GPU a mere warning would leave the backward pass
    of attention as it is, not deterministic, and cuBLAS needs workspaces of one size.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(seed)
    # use_deterministic_algorithms(True), less its import of the compiler.
    torch.set_deterministic_debug_mode("error")
    # Filling uninitialized buffers with NaN finds bugs in kernels; no result depends on it.
    torch.utils.deterministic.fill_uninitialized_memory = False
