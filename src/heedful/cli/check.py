"""`heed check`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter


def check(
    *objectives: Annotated[
        str,
        Parameter(help="by name or path/to/file.py:function (all of ours if none); settings of one as key=value"),
    ],
    dtype: Annotated[
        Literal["fp32", "bf16", "fp64"],
        Parameter(help="arithmetic of the model's forward; fp64 also proves objectives to ten digits"),
    ] = "fp32",
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], Parameter(help="where to compute; auto: cuda, else mps, else cpu")
    ] = "auto",
    json: Annotated[bool, Parameter(help="print one JSON object instead of the table", negative="")] = False,
) -> None:
    """Prove that objectives compute what they say, on this machine: yours too, before you train with it.

    Value and gradient are compared with an oracle (the paper's formula as
    plain loops) and with values worked out by hand; laws are tried (finite at
    extremes, better responses rise, packs add up …); and one step of a tiny
    model is computed in several ways that must agree: packed or padded, prompts
    shared or repeated, the vocabulary in slices, the step in parts, the batch
    in another order.

    An oracle for my_loss is a function my_loss_oracle(batch, stats, settings)
    in the same file. The exit status is 1 if anything fails, and every failure
    says why and how to mend it.

    Examples:

      heed check

      heed check dpo beta=0.5 --dtype fp64

      heed check my_loss.py:my_loss --json
    """
    from heedful.workflows.checking import check as run

    run(objectives, precision=dtype, device=device, as_json=json)
