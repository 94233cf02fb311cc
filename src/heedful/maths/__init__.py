"""Mathematics on plain tensors: what every objective and the loop share.  Knows nothing of models or data files."""

from heedful.maths.segments import segment_sum, wide

__all__ = ["segment_sum", "wide"]
