"""Settings within settings: an objective's own, of adapters, of a source of rewards, of an estimate of values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Count = Annotated[int, Gt(0)]
Positive = Annotated[float, Gt(0)]
Seed = Annotated[int, Ge(0), Lt(2**63)]


class Schema(BaseModel):
    """What all settings have in common: nothing unknown, nothing that is no number, nothing changed later."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class ObjectiveConfig(BaseModel):
    """Which objective, and its own settings beside its name: `objective: {name: dpo, beta: 0.1}`.

    A bare string is the name: `objective: dpo`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    name: str = Field(
        min_length=1, description="name of an objective (see `heed objectives`) or path/to/file.py:function"
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def settings(self) -> dict[str, Any]:
        """The objective's keyword arguments."""
        return dict(self.model_extra or {})


class LoraConfig(Schema):
    """Low-rank adapters instead of the full weights; without dropout, which would make log-probabilities random."""

    r: Count = Field(16, description="rank of the adapters; larger can learn more and takes more memory")
    alpha: Positive = Field(
        32.0, description="scale of the adapters (their output is times alpha/r); larger moves faster"
    )
    targets: list[str] | None = Field(
        None, description="names of the layers to adapt; null: every linear layer but the head"
    )


class RewardConfig(Schema):
    """How one source of rewards counts in their sum.  A bare number is the weight: `rewards: {pep8: 1}`."""

    weight: float = Field(1.0, description="what its reward is multiplied by; below 0 turns it round")
    normalize: bool | Literal["sigmoid"] = Field(
        False, description="true: to mean 0 and deviation 1 over the training data; sigmoid: into 0 to 1"
    )

    @model_validator(mode="before")
    @classmethod
    def _weight_alone(cls, value: Any) -> Any:
        return value if isinstance(value, dict | RewardConfig) else {"weight": value}


class ValueFitConfig(Schema):
    """How the value of the reference policy is estimated for `value=reference` and `value=data`."""

    prompts: Annotated[int, Ge(8)] = Field(
        512, description="most prompts to learn from; more is truer and takes longer"
    )
    samples: Count = Field(4, description="answers of the reference to each of them; more is truer and takes longer")
    max_new_tokens: Count = Field(128, description="most tokens of such an answer")
    temperature: Annotated[float, Ge(0)] = Field(1.0, description="of these answers; 0 takes the likeliest token")
    folds: Annotated[int, Ge(3)] = Field(
        5, description="parts of the prompts; each is valued by heads that have not seen it"
    )
    epochs: Count = Field(
        50, description="most passes of a head; the best on prompts that it does not train on is kept"
    )
    lr: Positive = Field(3e-4, description="learning rate of a head")
    range: tuple[float, float] | None = Field(
        None, description="lowest and highest value; null: of the rewards it learns from; the published is [0, max]"
    )

    @field_validator("range")
    @classmethod
    def _upwards(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError("must rise, as [0, 1]")
        return value


DEFAULT_FIT = ValueFitConfig.model_validate({})
