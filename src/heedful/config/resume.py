"""Which settings may change when a run is resumed."""

from __future__ import annotations

from typing import Any

from heedful.config.schema import TrainConfig
from heedful.types import UserError

RESUMABLE = frozenset(
    {
        "out",  # the folder may have been moved
        "cache_dir",
        "checkpoint_every",
        "keep",
        "num_bad_steps",
        "resume",
        "overwrite",
        "track",
        "track_project",
        "track_name",
        "track_group",
        "track_tags",
    }
)
"""Settings that touch neither the weights nor the metrics; every other one is refused when it differs."""

ABSENT = "absent"
FROZEN_AT_START = frozenset({"tokens_per_pack", "threads", "world_size", "device", "engine"})
"""Settings whose `auto` was replaced by a value when the run began; `auto` on resume means that value."""


def resumed(saved: TrainConfig, asked: TrainConfig) -> TrainConfig:
    """The saved settings with whatever may change taken from `asked`.

    Raises UserError that names every setting that may not change and does.
    """
    changed = []
    before, after = saved.model_dump(mode="json"), asked.model_dump(mode="json")  # a tuple was read back as a list
    for name, old in before.items():
        new = after[name]
        if old == new or name in RESUMABLE or (name in FROZEN_AT_START and new == "auto"):
            continue
        changed += _differences(name, old, new)
    if changed:
        raise UserError(
            f"{asked.out}: the run there was started with other settings ({'; '.join(changed)}); "
            "ask for the same ones, choose another out=, or start anew with overwrite=true"
        )
    return saved.model_copy(update={name: getattr(asked, name) for name in RESUMABLE})


def _differences(name: str, old: Any, new: Any) -> list[str]:
    """What differs between two values of a setting, key by key where both are mappings."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [f"{name} was {_shown(old)} and is now {_shown(new)}"]
    keys = [key for key in old | new if old.get(key, ABSENT) != new.get(key, ABSENT)]
    return [text for key in keys for text in _differences(f"{name}.{key}", old.get(key, ABSENT), new.get(key, ABSENT))]


def _shown(value: object) -> str:
    return "null" if value is None else str(value)
