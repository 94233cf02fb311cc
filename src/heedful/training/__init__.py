"""The loop and what it needs: one step, processes, checkpoints, the reference cache, metrics.

`train(config)` is what `heed train` calls; everything it is made of can be called alone.
"""

from heedful.training.train import resolve_objective, train

__all__ = ["resolve_objective", "train"]
