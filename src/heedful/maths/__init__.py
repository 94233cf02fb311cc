"""Mathematics on plain tensors: what every objective and the loop share.  Knows nothing of models or data files."""

from heedful.maths.advantages import at_the_end, discounted_sums, gae, group_advantages, whiten
from heedful.maths.divergence import bounded_exp, k1, k3
from heedful.maths.moments import updated_mean
from heedful.maths.quantiles import matched_quantiles
from heedful.maths.scaling import expected_loss
from heedful.maths.segments import segment_sum, wide

__all__ = [
    "at_the_end",
    "bounded_exp",
    "discounted_sums",
    "expected_loss",
    "gae",
    "group_advantages",
    "k1",
    "k3",
    "matched_quantiles",
    "segment_sum",
    "updated_mean",
    "whiten",
    "wide",
]
