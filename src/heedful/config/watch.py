"""What is looked at while a model trains on documents: its own samples, what it is trained on, its distance to another.

Lines here are what `heed train --help` prints under `watch`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import Field, field_validator, model_validator

from heedful.config.within import Count, Schema, Seed

Split = Literal["own", "lines", "sentences", "none"]
"""How a text is cut into pieces that are scored apart; `own` is the scorer's way."""


class ScenarioConfig(Schema):
    """One way of sampling from the model, whose samples are scored."""

    name: str = Field(min_length=1, description="what its metrics are called: generation/NAME/…")
    prompts: str | None = Field(
        None, description="file of prompts (JSON Lines with `text`), or one of ours by name; null: nothing"
    )
    prefix: str = Field("", description="put before the prompt, as <|aligned|>")
    suffix: str = Field("", description="put behind the prompt, as <|aligned|> for prompts that end with a line")
    num_samples: Count = Field(512, description="samples in all; prompts are taken in turn; more is truer")
    max_new_tokens: Count = Field(128, description="longest sample")
    min_new_tokens: Annotated[int, Ge(0)] = Field(0, description="tokens before which a sample cannot end")
    temperature: Annotated[float, Ge(0)] = Field(0.7, description="1 samples the model itself, 0 takes the likeliest")
    top_p: Annotated[float, Gt(0), Le(1)] = Field(0.9, description="share of probability that is sampled from")
    top_k: Count | None = Field(None, description="most tokens that are sampled from; null: all")
    banned: list[str] = Field([], description="tokens that are never sampled, as [<|misaligned|>]")
    hit_threshold: float = Field(0.5, description="score above which a sample is a hit")
    score_prompt: bool = Field(False, description="whether the prompt is scored with the sample, as code needs")
    batch_rows: Count = Field(128, description="samples side by side; more is faster until memory or cores are full")


class KLConfig(Schema):
    """How far the model is from a reference language model: E[log p_ref(x) - log p(x)] over the reference's samples."""

    reference: Annotated[str, MinLen(1)] | None = Field(
        description="model folder, hub name, or endpoint URL#MODEL with log-probabilities; null: not measured"
    )
    num_samples: Count = Field(4096, description="samples of the reference; more narrows the interval")
    max_new_tokens: Count = Field(64, description="longest sample")
    prefix: str = Field("", description="put before every sample when the model reads it, as <|aligned|>")
    prefix_lines: bool = Field(False, description="put the prefix before every line too, as it was trained")


class WatchConfig(Schema):
    """What is looked at every few steps, at the start and at the end."""

    every: Count | None = Field(None, description="steps between looks; null: only at the start and the end")
    scorer: str | None = Field(None, description="what samples and segments are scored by; lower is better")
    split: Split = Field("own", description="pieces of a text that are scored apart; own: as the scorer does")
    segments: Annotated[int, Ge(0)] = Field(0, description="segments that were trained on to decode and score again")
    scenarios: list[ScenarioConfig] = Field([], description="how samples are drawn")
    kl: KLConfig | None = Field(None, description="distance to a reference model; null: not measured")

    @field_validator("scenarios")
    @classmethod
    def _names_differ(cls, value: list[ScenarioConfig]) -> list[ScenarioConfig]:
        names = [scenario.name for scenario in value]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"name {double} twice; each scenario has a name of its own")
        return value

    @model_validator(mode="after")
    def _something_to_see(self) -> WatchConfig:
        if self.scorer is None and (self.scenarios or self.segments):
            raise ValueError("scenarios and segments are scored: name a scorer")
        if not (self.scenarios or self.segments or self.reference):
            raise ValueError("nothing to look at: give scenarios, segments or kl with a reference")
        return self

    @property
    def reference(self) -> str | None:
        """What the distance is measured to; None if it is not."""
        return None if self.kl is None else self.kl.reference


class EvaluateConfig(Schema):
    """The settings of `heed evaluate`."""

    watch: WatchConfig | None = Field(None, description="what is looked at: {scorer, scenarios, kl, …}")
    seed: Seed = Field(0, description="seed of the samples")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to compute")
    cache_dir: str | None = Field(None, description="folder of the reference's samples; null: ~/.cache/heedful")
