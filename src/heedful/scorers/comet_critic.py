"""Whether a commonsense inference is valid, by the critic of symbolic knowledge distillation.

West et al. 2022, arXiv:2110.07178, sec. 4: RoBERTa-large with its pooler, then 1024 → 512 → GELU → 1 → sigmoid.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from heedful.models.keras import HEAD_FILE, HEAD_NAMES
from heedful.models.tensors import read_bin
from heedful.scorers.classifiers import saying_something
from heedful.scorers.pretrained import folder_of, linear, load_config, load_weights, text_model
from heedful.scorers.scorer import Scorer
from heedful.types import UserError

PHRASES = {
    "HinderedBy": "can be hindered by",
    "xNeed": "but before, PersonX needed",
    "xWant": "as a result, PersonX wants",
    "xIntent": "because PersonX wanted",
    "xReact": "as a result, PersonX feels",
    "xAttr": "so, PersonX is seen as",
    "xEffect": "as a result, PersonX",
}
"""How the critic reads each relation of ATOMIC."""

NAMES = {"PersonX": "Alex", "PersonY": "Robin"}
"""Who stands for the people of an event.  The published code draws first names anew for every call, so that its reward
of one inference differs from call to call; a reward here is a function of the inference."""

PUBLISHED_HEAD_FILE = "custom_roberta_classification_head.pt"
_PROMPT = re.compile(r"<head>\s*(?P<head>.*?)\s*</head>\s*<relation>\s*(?P<relation>.*?)\s*</relation>", re.DOTALL)


def comet_critic(folder: str, device: str) -> Scorer:
    """P(valid) of the inference (head, relation, response) of a prompt `<head> … </head> <relation> … </relation>`.

    folder: what `heed model convert critic.h5 FOLDER --like …` writes, or the published converter does.
    Raises UserError for a prompt of another form or a relation the critic does not know.
    """
    from transformers import RobertaModel

    path = folder_of(folder)
    config = load_config(path)
    if config.model_type != "roberta":
        raise UserError(f"{path} is a {config.model_type}; the critic is a RoBERTa")
    head = _head(Path(path)).to(device)
    trunk = load_weights(RobertaModel, path, config, device)

    def forward(inputs: dict[str, Tensor]) -> Tensor:
        return head(trunk(**inputs).pooler_output)

    model = text_model(path, config, forward, device, max_length=512, keeps="beginning")

    def function(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        pairs = [sentences(p, r) for p, r in zip(prompts, responses, strict=True)]
        return model([first for first, _ in pairs], [second for _, second in pairs])[:, 0]

    return Scorer("comet_critic", saying_something(function), False, None, f"P(valid) by {path}", note=model.note)


def sentences(prompt: str, tail: str) -> tuple[str, str]:
    """The critic's two sentences: the event, and the relation's phrase with the tail; people by their `NAMES`."""
    found = _PROMPT.search(prompt)
    if found is None:
        raise UserError(
            f"comet_critic: the prompt {prompt[:60]!r} is not '<head> EVENT </head> <relation> NAME </relation> [GEN]'"
        )
    phrase = PHRASES.get(found["relation"])
    if phrase is None:
        raise UserError(f"comet_critic knows no relation {found['relation']!r}; it knows {', '.join(PHRASES)}")
    return _named(found["head"]), _named(f"{phrase} {tail.strip()}")


def _named(text: str) -> str:
    for person, name in NAMES.items():
        text = text.replace(person, name)
    return text


def _head(folder: Path) -> nn.Sequential:
    """The two layers on the pooler's output, from our file or the published converter's."""
    from safetensors.torch import load_file

    if (folder / HEAD_FILE).is_file():
        tensors = load_file(folder / HEAD_FILE)
    elif (folder / PUBLISHED_HEAD_FILE).is_file():
        tensors = read_bin(folder / PUBLISHED_HEAD_FILE)
    else:
        raise UserError(f"{folder} has neither {HEAD_FILE} nor {PUBLISHED_HEAD_FILE}, so the critic's head is missing")
    missing = next((name for name in HEAD_NAMES if name not in tensors), None)
    if missing is not None:
        raise UserError(f"the critic's head in {folder} has no {missing}")
    hidden = linear(tensors["dense.weight"], tensors["dense.bias"])
    out = linear(tensors["out_proj.weight"], tensors["out_proj.bias"])
    return nn.Sequential(hidden, nn.GELU(), out, nn.Sigmoid()).requires_grad_(False)
