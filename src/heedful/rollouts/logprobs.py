"""Log-probabilities of samples under any model: what a divergence between two models is estimated from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from heedful.models import PackedModel, to_tensors
from heedful.scorers.packing import packs_of
from heedful.tokens.encoded import EncodedExample, EncodedResponse
from heedful.types import Example, Message, Response, Rollout


def sequence_logps(model: PackedModel, rollouts: Sequence[Rollout]) -> list[float]:
    """log p(response | prompt) of each sample under `model` in nats, summed over the tokens that were sampled.

    The tokens are the sampled ones, not those of the text tokenised again; -inf if the model does not have one of them
    (a control token, say, that was added to the sampler's vocabulary).
    """
    size = model.inner.get_input_embeddings().weight.shape[0]  # pyright: ignore[reportCallIssue]
    encoded, examples, order = [], [], []
    for group in _by_prompt(rollouts):
        group = [i for i in group if max(rollouts[i].response_ids) < size]
        if not group:
            continue
        members = [rollouts[i] for i in group]
        responses = [
            EncodedResponse(np.array(r.response_ids, np.int32), np.ones(len(r.response_ids), bool)) for r in members
        ]
        encoded.append(EncodedExample(np.array(members[0].prompt_ids, np.int32), responses, row=len(examples)))
        examples.append(Example(members[0].prompt, [Response([Message("assistant", r.text)]) for r in members]))
        order += group
    logps = np.full(len(rollouts), -np.inf)
    rows = np.array(order)
    model.eval()
    with torch.inference_mode():
        for pack in packs_of(encoded, examples):
            found = model(to_tensors(pack, model.device), {"logps"})["logps"].double().cpu().numpy()
            logps[rows[pack.response_rows]] = np.bincount(pack.response_of, found, minlength=pack.num_responses)
    return logps.tolist()


def _by_prompt(rollouts: Sequence[Rollout]) -> list[list[int]]:
    """Indices of the samples of each prompt: it is read once for all of them."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, rollout in enumerate(rollouts):
        groups.setdefault(tuple(rollout.prompt_ids), []).append(i)
    return list(groups.values())
