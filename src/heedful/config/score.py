"""Every setting of `heed score` on documents: its type, its default and what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field, model_validator

from heedful.config.watch import Split
from heedful.config.within import Count, Schema

MOST_WORKERS = 4096
Engine = Literal["processes", "ray"]
Rows = Literal["spans", "pieces"]


class ScoreConfig(Schema):
    """The settings of `heed score SCORER data=… out=…`."""

    scorer: str | None = Field(None, description="what scores, where the word SCORER does not say it")
    data: str = Field(min_length=1, description="documents: file, folder, hub name, source tree, or a mixture of them")
    out: Path = Field(description="folder of the shards; the same command continues it")
    split: Split = Field("own", description="pieces that are scored apart; own: as the scorer cuts them")
    workers: Annotated[int, Ge(1), Le(MOST_WORKERS)] = Field(
        1, description="processes that score; from 2 on a crash costs one document only (not so with ray)"
    )
    format: Literal["jsonl", "parquet"] = Field("jsonl", description="of the shards")
    rows: Rows = Field(
        "spans", description="of a document; spans: its text with spans, pieces: as published, texts with scores"
    )
    engine: Engine = Field("processes", description="ray: over the machines of a Ray cluster")
    shard_characters: Count = Field(1 << 20, description="characters of a shard; of fewer a killed run loses less")
    reader: str | None = Field(None, description="name of the reader of `data`; null: found from how rows look")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="where a scorer's model computes; workers share the GPUs out"
    )

    @model_validator(mode="after")
    def _ray_is_for_processors(self) -> ScoreConfig:
        if self.engine == "ray" and self.device not in ("auto", "cpu"):
            raise ValueError(f"engine=ray scores on the processors of its machines, not on {self.device}")
        return self
