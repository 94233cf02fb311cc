"""Heedful beside TRL and beside the bare model: the same model, data, batch and machine, interleaved, as ratios.

`make bench`, or `python -m benchmarks`.  Results go to `results/` and into the README's table.
"""
