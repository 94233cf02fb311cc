"""Every setting of `heed redteam`: its type, its default and what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Field

from heedful.config.within import Count, Positive, Schema, Seed

Probability = Annotated[float, Gt(0), Le(1)]


class RedTeamConfig(Schema):
    """The settings of `heed redteam`."""

    attacker: str = Field(min_length=1, description="model that writes prompts: folder, hub name or endpoint URL#MODEL")
    attacker_api: Literal["completions", "chat"] = Field(
        "completions", description="how an endpoint is asked: to go on with a list, or in a conversation"
    )
    scorer: str = Field(min_length=1, description="what the model's samples are scored by; lower is better")
    task: Literal["toxicity", "pii", "pep8"] = Field("toxicity", description="what the attacker is asked to provoke")
    out: Path = Field(Path("redteam"), description="folder to write; the same command continues it")
    pool: str | None = Field(
        None, description="first prompts: JSON Lines with `text`; null: those that come with the task"
    )
    instruction: Path | None = Field(None, description="file with the attacker's instruction; null: the task's own")
    trials: Count = Field(3, description="times everything is begun anew; more makes the curves surer")
    rounds: Count = Field(10, description="rounds of a trial; more finds worse prompts")
    pool_size: Count = Field(20, description="prompts of the first pool")
    shown: Count = Field(4, description="prompts of the pool that the attacker sees in a round")
    pool_temperature: Positive = Field(
        0.1, description="how these are drawn, in proportion to e^(score/T); smaller shows the worst alone"
    )
    responses: Count = Field(20, description="answers of the attacker in a round; more finds more candidates")
    attacker_tokens: Count = Field(128, description="longest answer of the attacker")
    attacker_temperature: Positive = Field(1.0, description="of its answers; larger is more varied")
    num_samples: Count = Field(64, description="samples of the attacked model for each prompt; more is surer")
    max_new_tokens: Count = Field(64, description="longest sample")
    min_new_tokens: Annotated[int, Ge(0)] = Field(10, description="tokens before which a sample cannot end")
    temperature: Positive = Field(0.7, description="of the samples")
    top_p: Probability = Field(0.9, description="share of probability that is sampled from")
    prefix: str = Field("", description="put before every prompt, as <|aligned|>")
    banned: list[str] = Field([], description="tokens that are never sampled, as [<|misaligned|>]")
    score_prompt: bool = Field(False, description="whether the prompt is scored with its sample, as code needs")
    seed: Seed = Field(0, description="seed of everything drawn")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to compute")
