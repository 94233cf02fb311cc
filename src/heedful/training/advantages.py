"""What the data's advantages look like, and what is drawn by them.  A = R - V; `R` responses of a store."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from heedful.config import TrainConfig
from heedful.objectives import filtering
from heedful.objectives.reduce import Objective
from heedful.tokens.packs import pack_lengths
from heedful.tokens.sampler import Sampler, permutation, units_of
from heedful.tokens.store import TokenStore
from heedful.training.labels import drawn_by
from heedful.types import UserError

PERCENTILES = (0, 10, 25, 50, 75, 90, 100)


def advantages(reward: Float[np.ndarray, " R"], value: Float[np.ndarray, " R"]) -> dict[str, Any]:
    """Percentiles of value, reward and advantage, and the leftover lunch: the share of responses with A <= 0.

    Those are what an objective that clamps advantages at 0 learns nothing from.  Baheti et al. 2024, arXiv:2305.14718.
    """
    columns = {"value": value, "reward": reward, "advantage": reward - value}
    return {
        "responses": len(reward),
        "lunch": float(np.mean(columns["advantage"] <= 0)),
        "percentiles": list(PERCENTILES),
        **{name: np.percentile(column, PERCENTILES).tolist() for name, column in columns.items()},
    }


def advantage_lines(found: dict[str, Any]) -> list[str]:
    """The same as text."""
    rows = [("percentile", [f"{p} %" for p in found["percentiles"]])]
    rows += [(name, [f"{x:.4g}" for x in found[name]]) for name in ("value", "reward", "advantage")]
    table = [f"{name:<10} " + " ".join(f"{cell:>10}" for cell in cells) for name, cells in rows]
    left = round(found["lunch"] * found["responses"])
    return [*table, f"leftover lunch: {left:,} of {found['responses']:,} responses ({found['lunch']:.1%}) have A <= 0"]


def store_advantages(store: TokenStore) -> dict[str, Any]:
    """The advantages of a store's responses."""
    real = ~store.is_mismatched
    reward, value = (store.columns[name][real].astype(np.float64) for name in ("reward", "value"))
    return advantages(reward, value)


def make_sampler(config: TrainConfig, objective: Objective, store: TokenStore) -> Sampler:
    """Which examples stand in which step, as the settings say.

    An epoch of draws is as many as there are responses that can be drawn, so that the lunch that is left over shortens
    the run, as published; `steps` is taken as it is.
    Raises UserError if nothing can be drawn.
    """
    length: dict[str, Any] = {"epochs": config.epochs} if config.steps is None else {"steps": config.steps}
    return Sampler(
        units_of(store, config.batch_unit),
        batch_size=config.batch_size,
        unit=config.batch_unit,
        seed=config.seed,
        weights=draw_weights(config, objective, store),
        in_order=config.view is not None,
        skip=skipped_units(config, objective, store),
        **length,
    )


def skipped_units(config: TrainConfig, objective: Objective, store: TokenStore) -> int:
    """`skip_tokens` in the units of a batch: what the sequences take that an earlier run began before it had these.

    Filtering leaves out the documents themselves (see `documents.unseen`), since it lines up fewer.
    """
    if not config.skip_tokens or objective.function is filtering:
        return 0
    rows = first_rows(store, config.seed, config.skip_tokens)
    return int(units_of(store, config.batch_unit)[rows].sum())


def first_rows(store: TokenStore, seed: int, num_tokens: int) -> Int64[np.ndarray, " n"]:
    """The sequences that the first epoch begins before `num_tokens` tokens are through, in its order.

    Raises UserError if those are all.
    """
    order = permutation(store.num_examples, seed, 0)
    lengths = pack_lengths(store)[0][order]
    begun = np.cumsum(lengths) - lengths < num_tokens
    if begun.all():
        raise UserError(
            f"skip_tokens={num_tokens:,} leaves nothing: the first pass has {int(lengths.sum()):,} tokens; skip fewer."
        )
    return order[begun]


def draw_weights(config: TrainConfig, objective: Objective, store: TokenStore) -> Float[np.ndarray, " E"] | None:
    """How likely each example is drawn, in proportion: what is above 0 of its response's advantage or reward."""
    by = drawn_by(config, objective)
    if by is None:
        return None
    worth = store.columns["reward"].astype(np.float64)
    if by == "advantage":
        worth = worth - store.columns["value"]
    priority = store.sum_by_example(np.where(store.is_mismatched, 0.0, np.maximum(worth, 0.0)))
    return (priority > 0).astype(np.float64) if config.sampling == "good_random" else priority
