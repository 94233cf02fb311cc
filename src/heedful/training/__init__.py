"""The loop and what it needs: one step, processes, checkpoints, the reference cache, metrics.

`train.train(config)` is what `heed train` calls; everything it is made of can be called alone.
"""
