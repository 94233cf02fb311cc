"""`heed model`: make and rewrite model folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from heedful.types import UserError


def new(
    out: Annotated[Path, Parameter(help="folder to write")],
    data: Annotated[
        str | None, Parameter(help="text to train the tokenizer on: file, folder, hub name or mixture")
    ] = None,
    /,
    *,
    like: Annotated[
        str | None, Parameter(help="instead of data: a model whose config and tokenizer to take, with random weights")
    ] = None,
    vocab_size: Annotated[int, Parameter(help="tokens in the vocabulary; larger makes shorter sequences")] = 4096,
    hidden_size: Annotated[int, Parameter(help="width of a layer, a multiple of heads")] = 128,
    layers: Annotated[int, Parameter(help="layers; more learn more and take longer")] = 4,
    heads: Annotated[int, Parameter(help="attention heads")] = 4,
    max_length: Annotated[int, Parameter(help="most tokens the model can see")] = 1024,
    seed: Annotated[int, Parameter(help="seed of the new weights")] = 0,
) -> None:
    """Make a small untrained Llama with a tokenizer trained on given text, or an untrained twin of another model.

    Examples:

      heed model new models/tiny my_sources/ --vocab-size 2048 --layers 4

      heed model new models/gpt2-untrained --like gpt2
    """
    if (data is None) == (like is None):
        raise UserError("heed model new OUT needs DATA to train a tokenizer on, or --like MODEL; give one of them")
    if data is None:
        from heedful.models.new_model import new_like

        assert like is not None
        print(f"Wrote {new_like(out, like, seed=seed)}, untrained. Next: heed train mle model={out} data=…")
        return
    from heedful.workflows.inspection import new_model

    size = {"vocab_size": vocab_size, "hidden_size": hidden_size, "layers": layers, "heads": heads}
    new_model(out, data, max_length=max_length, seed=seed, **size)
    print(f"Wrote {out}, untrained. Next: heed train sft model={out} data={data}")


def convert(
    model: Annotated[
        str, Parameter(help="folder or hub name with weights in any format, or a Keras critic's .h5 file")
    ],
    out: Annotated[Path, Parameter(help="folder to write")],
    /,
    *,
    like: Annotated[
        str | None, Parameter(help="for a .h5 file: the RoBERTa it was tuned from, for its config and tokenizer")
    ] = None,
) -> None:
    """Rewrite a folder's weights as safetensors; .bin and .pt files are read without running what they contain.

    Examples:

      heed model convert old/pytorch-model new/model

      heed model convert critic.h5 models/critic --like roberta-large-mnli
    """
    from heedful.models import convert as run

    run(model, out, like=like)
    print(f"Wrote {out}: the same weights as safetensors.")


def merge(
    adapter: Annotated[str, Parameter(help="a PEFT adapter folder or the run folder of a LoRA run")],
    out: Annotated[Path, Parameter(help="folder to write")],
    /,
) -> None:
    """Merge a LoRA adapter into its model: one plain folder that needs no PEFT.

    Example:

      heed model merge runs/dpo-lora merged/model
    """
    from heedful.models import merge as run

    run(adapter, out)
    print(f"Wrote {out}: the model with the adapter in its weights.")
