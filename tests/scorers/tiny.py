"""Tiny folders in the shape of the published classifiers, and what a plain unbatched forward of them says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.fakes import tiny_config, tiny_tokenizer

LONG = " ".join(["and so on"] * 400)


def pair_tokenizer() -> Any:
    """A tokenizer that frames texts as RoBERTa's does: <s> a </s>, and <s> a </s></s> b </s> (one token for both)."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    end = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{end} $A {end}", pair=f"{end} $A {end} {end} $B {end}", special_tokens=[(end, 0)]
    )
    return tokenizer


def seeded(make: Any, seed: int = 0) -> Any:
    """`make()` with weights that are a function of the seed; biases too, which models begin with at zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make().eval()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
    return model


def save_classifier(path: Path, arch: str, num_labels: int, **settings: Any) -> Any:
    """Write a sequence classifier with its tokenizer and give the model back."""
    from transformers import AutoModelForSequenceClassification

    tokenizer = pair_tokenizer() if arch in ("roberta", "bert") else tiny_tokenizer()
    config = tiny_config(arch, len(tokenizer) + 8, num_labels=num_labels, **settings)
    model = seeded(lambda: AutoModelForSequenceClassification.from_config(config))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return model


class WithHead(nn.Module):
    """A trunk with one linear layer, under the names that the published weights have."""

    def __init__(self, trunk_name: str, trunk: nn.Module, head_name: str, num_outputs: int) -> None:
        super().__init__()
        self.add_module(trunk_name, trunk)
        self.add_module(head_name, nn.Linear(32, num_outputs))
        self.names = (trunk_name, head_name)

    def forward(self, ids: Tensor) -> Tensor:
        trunk, head = (self.get_submodule(name) for name in self.names)
        return head(trunk(input_ids=ids)[0][:, -1])


def save_with_head(
    path: Path, arch: str, trunk_name: str, head_name: str, num_outputs: int, **written: Any
) -> WithHead:
    """Write a decoder with a head of its own as `.bin` weights; written: what its config.json says instead."""
    from transformers import AutoModel

    tokenizer = tiny_tokenizer()
    config = tiny_config(arch, len(tokenizer) + 8)
    model = seeded(lambda: WithHead(trunk_name, AutoModel.from_config(config), head_name, num_outputs))
    path.mkdir()
    config.save_pretrained(path)
    tokenizer.save_pretrained(path)
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    content = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(content | written))
    return model


@torch.no_grad()
def logits(model: Any, folder: Path, *texts: str) -> Tensor:
    """What the plain model says of one text, or of one pair, by itself."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer(*texts)["input_ids"]])
    found = model(ids)
    return (found if isinstance(found, Tensor) else found.logits)[0]
