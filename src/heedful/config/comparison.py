"""Every setting of a comparison beside those of its runs: its type, its default and what it does."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Gt(0)]


class CompareConfig(BaseModel):
    """The settings of `heed compare` itself; those of `heed train` stand beside them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    objectives: list[str] = Field(
        min_length=1,
        description="what is compared: objectives, recipes, file.py:function, and chains of them as sft+dpo, where the "
        "second starts from the first's final model; archangel: sft, csft, dpo, kto, ppo_offline, slic with after=sft",
    )
    after: str | None = Field(
        None, description="every objective also starts from the final model of this one: after=sft adds sft+dpo to dpo"
    )
    out: str = Field(
        "runs/compare", min_length=1, description="folder of the comparison; the same command continues it"
    )
    seeds: list[Annotated[int, Ge(0)]] = Field(
        [0], min_length=1, description="documents only: every objective is trained once with each; means are compared"
    )
    evaluate: str | list[str] | dict[str, float] = Field(
        [],
        description="who judges the answers, as a,b or {a: WEIGHT, …}: scorers, reward models, file.py:function (as in "
        "heed score); their weighted sum is the reward",
    )
    num_prompts: Count = Field(
        128, description="most held-out prompts that every model answers; more makes intervals narrower"
    )
    samples_per_prompt: Count = Field(4, description="answers of every model to each of them")
    max_new_tokens: Count = Field(128, description="most tokens of an answer; one cut there counts as failed")
    temperature: Annotated[float, Ge(0)] = Field(
        1.0, description="of these answers; 0 takes the likeliest token; only 1 gives an estimate of the KL"
    )
    top_p: Annotated[float, Gt(0), Le(1)] = Field(
        1.0, description="keep the likeliest tokens of this total probability; 1 keeps all"
    )
    validation_prompts: Annotated[int, Ge(0)] = Field(
        32, description="most other held-out prompts that are answered and judged at every evaluation; 0: none"
    )

    @property
    def judges(self) -> dict[str, float]:
        """Who judges, with its weight in the reward."""
        if isinstance(self.evaluate, dict):
            return self.evaluate
        names = self.evaluate.split(",") if isinstance(self.evaluate, str) else self.evaluate
        return {name.strip(): 1.0 for name in names if name.strip()}
