"""Settings: the schema, reading it from YAML and `key=value`, and errors that name the key and suggest the right one.

No torch here.  `load_train` is what the command uses; `load` does the same for any pydantic schema.
"""

from __future__ import annotations

from heedful.config.comparison import CompareConfig
from heedful.config.dump import dump_yaml
from heedful.config.load import build, build_train, checked, join, load, load_train, merge, parse_yaml, read_yaml
from heedful.config.redteam import RedTeamConfig
from heedful.config.resume import RESUMABLE, resumed
from heedful.config.schema import TrainConfig
from heedful.config.score import ScoreConfig
from heedful.config.signature import settings_model
from heedful.config.suggest import did_you_mean, suggest
from heedful.config.watch import EvaluateConfig, KLConfig, ScenarioConfig, WatchConfig
from heedful.config.within import LoraConfig, ObjectiveConfig

__all__ = [
    "RESUMABLE",
    "CompareConfig",
    "EvaluateConfig",
    "KLConfig",
    "LoraConfig",
    "ObjectiveConfig",
    "RedTeamConfig",
    "ScenarioConfig",
    "ScoreConfig",
    "TrainConfig",
    "WatchConfig",
    "build",
    "build_train",
    "checked",
    "did_you_mean",
    "dump_yaml",
    "join",
    "load",
    "load_train",
    "merge",
    "parse_yaml",
    "read_yaml",
    "resumed",
    "settings_model",
    "suggest",
]
