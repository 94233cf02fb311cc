"""Penalties for leaving the reference, per token of the data's responses.  Axes: `N` tokens."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from heedful.maths import k1, k3
from heedful.objectives.views import View

KLForm = Literal["published", "k3", "full"]
"""`published`: log π - log π_ref of the data's token.  Its gradient does not know the reference: it pushes every token
    of the data down by the same weight, and so only shifts rewards or advantages.
`k3`: π_ref/π - log(π_ref/π) - 1 of the data's token: 0 at the reference, and pulls back to it from either side.
`full`: KL(π‖π_ref) over the whole vocabulary at the data's positions; needs the reference beside the policy."""


def kl_per_token(view: View, form: KLForm) -> Float[Tensor, " N"]:
    """The penalty of the chosen form at each trained token, nats; see `KLForm`."""
    if form == "full":
        return view.kl
    return {"published": k1, "k3": k3}[form](view.logps, view.ref_logps)
