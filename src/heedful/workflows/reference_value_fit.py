"""Fitting value heads on some prompts and judging them on others: cross-fitting, correlation, R², calibration."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from heedful.config.within import ValueFitConfig
from heedful.models.prompt_value import PromptValueHead, padded
from heedful.tokens.sampler import permutation
from heedful.types import UserError

BATCH, PATIENCE = 16, 5
TENTHS = 10


@dataclass(frozen=True)
class CrossFit:
    """Heads that were each fitted without one part of the prompts.

    held_out (N,): what each text is worth by the head that has seen neither it nor its prompt.  epochs: of each head.
    """

    heads: list[PromptValueHead]
    held_out: Float[np.ndarray, " N"]
    epochs: list[int]

    def __call__(self, states: Sequence[Float[Tensor, "l D"]]) -> Float[np.ndarray, " N"]:
        """What texts that no head has seen are worth: the mean of all heads."""
        return np.mean([predict(head, states) for head in self.heads], axis=0)


def cross_fit(
    states: Sequence[Float[Tensor, "l D"]],
    targets: Float[np.ndarray, " N"],
    prompt_of: Int[np.ndarray, " N"],
    settings: ValueFitConfig,
    seed: int,
) -> CrossFit:
    """Fit one head for each part of the prompts, on the others.

    A head learns on all parts but two, stops where it is best on the one, and is judged on the other, so that neither
    choice nor judgement is of what it learnt from.
    targets: what each text is worth.  prompt_of: whose prompt a text has, 0 … P-1; texts of one prompt stay together.
    Raises UserError if there are too few prompts.
    """
    num_prompts, folds = int(prompt_of.max()) + 1, settings.folds
    if num_prompts < 2 * folds:
        raise UserError(
            f"the value of the reference cannot be learnt from {num_prompts} prompts in {folds} parts; give more "
            "prompts (data, eval_data), or set value_fit.folds lower."
        )
    order = np.empty(num_prompts, np.int64)
    order[permutation(num_prompts, seed, 0)] = np.arange(num_prompts)
    fold_of = (order % folds)[prompt_of]
    held_out, heads, epochs = np.zeros(len(targets)), [], []
    for fold in range(folds):
        judged, stop = fold_of == fold, fold_of == (fold + 1) % folds
        head, used = _fit(states, targets, np.flatnonzero(~judged & ~stop), np.flatnonzero(stop), settings, seed + fold)
        held_out[judged] = predict(head, [states[i] for i in np.flatnonzero(judged).tolist()])
        heads.append(head)
        epochs.append(used)
    return CrossFit(heads, held_out, epochs)


def _fit(
    states: Sequence[Tensor],
    targets: np.ndarray,
    train: np.ndarray,
    stop: np.ndarray,
    settings: ValueFitConfig,
    seed: int,
) -> tuple[PromptValueHead, int]:
    """The head after the epoch that is best on `stop`, which may be none: then it is the mean of the targets."""
    low, high = settings.range or (float(targets.min()), float(targets.max()))
    device = states[0].device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        head = PromptValueHead(states[0].shape[1], low, high, float(targets[train].mean())).to(device)
        optimizer = torch.optim.AdamW(head.parameters(), lr=settings.lr, weight_decay=0.0)
        best, best_error, best_epoch = copy.deepcopy(head.state_dict()), _error(head, states, targets, stop), 0
        for epoch in range(1, settings.epochs + 1):
            head.train()
            shuffled = train[permutation(len(train), seed, epoch)]
            for start in range(0, len(shuffled), BATCH):
                rows = shuffled[start : start + BATCH]
                wanted = torch.tensor(targets[rows], dtype=torch.float32, device=device)
                loss = (head(*padded([states[i] for i in rows])) - wanted).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            error = _error(head, states, targets, stop)
            if error < best_error:
                best, best_error, best_epoch = copy.deepcopy(head.state_dict()), error, epoch
            elif epoch - best_epoch >= PATIENCE:
                break
    head.load_state_dict(best)
    return head.eval(), best_epoch


def _error(head: PromptValueHead, states: Sequence[Tensor], targets: np.ndarray, rows: np.ndarray) -> float:
    return float(np.mean((predict(head, [states[i] for i in rows]) - targets[rows]) ** 2))


def predict(head: PromptValueHead, states: Sequence[Tensor]) -> Float[np.ndarray, " N"]:
    """What the head says of each text, without dropout."""
    head.eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(states), BATCH):
            found.append(head(*padded(states[start : start + BATCH])).double().cpu().numpy())
    return np.concatenate(found)


def judged(predicted: Float[np.ndarray, " N"], actual: Float[np.ndarray, " N"]) -> dict[str, Any]:
    """How well predictions agree with what came: correlation, R² = 1 - Σ(y-v)²/Σ(y-ȳ)², and calibration.

    calibration: for each tenth of the texts, by what was predicted, the means of prediction and of what came.
    None where it cannot be said: a correlation of constants, an R² of equal targets.
    """
    spread = float(((actual - actual.mean()) ** 2).sum())
    parts = [part for part in np.array_split(np.argsort(predicted, kind="stable"), TENTHS) if len(part)]
    constant = spread == 0 or float(np.ptp(predicted)) == 0
    return {
        "texts": len(actual),
        "correlation": None if constant else float(np.corrcoef(predicted, actual)[0, 1]),
        "r2": None if spread == 0 else 1.0 - float(((actual - predicted) ** 2).sum()) / spread,
        "calibration": [[float(predicted[part].mean()), float(actual[part].mean()), len(part)] for part in parts],
    }


def judged_lines(what: str, report: dict[str, Any]) -> list[str]:
    """The same as text."""
    correlation, r2 = (("none" if x is None else f"{x:.3f}") for x in (report["correlation"], report["r2"]))
    tenths = "  ".join(f"{predicted:.3g}:{actual:.3g}" for predicted, actual, _ in report["calibration"])
    lines = [
        f"{what}, on {report['texts']:,} texts that it had not seen: correlation {correlation}, R² {r2}",
        f"{what}, calibration by tenths, predicted:actual: {tenths}",
    ]
    if (report["r2"] or 0.0) <= 0.0:
        lines.append(f"{what} foretells nothing: one number for all texts would do as well")
    return lines
