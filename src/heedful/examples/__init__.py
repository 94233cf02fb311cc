"""Examples: reading what people have, mixing and splitting it, giving it the shape an objective needs, exporting it.

load, load_with_report, read        from `data=` to Examples
parse_mixture, split_by_prompt      mixtures and splits
to_demonstrations, to_pairs, to_singles, to_separate, to_lists, attach_mismatched    the shapes of views
write_jsonl, read_jsonl, write_parquet, read_parquet                     our own schema, lossless
load_view                           a user's own choice and order of them
export                              our schema or TRL's formats
READERS, registry, detect           the readers
"""

from __future__ import annotations

from heedful.examples.export import Exported, export
from heedful.examples.io import read_jsonl, read_parquet, write_jsonl, write_parquet
from heedful.examples.loading import LoadReport, SourceReport, load, load_with_report, read
from heedful.examples.mismatched import attach_mismatched
from heedful.examples.mixture import MixtureItem, parse_mixture
from heedful.examples.readers import READERS, Reader, detect, registry
from heedful.examples.shape import Dropped, Shaped, to_demonstrations, to_lists, to_pairs, to_separate, to_singles
from heedful.examples.splits import prompt_key, split_by_prompt
from heedful.examples.view import load_view

__all__ = [
    "READERS",
    "Dropped",
    "Exported",
    "LoadReport",
    "MixtureItem",
    "Reader",
    "Shaped",
    "SourceReport",
    "attach_mismatched",
    "detect",
    "export",
    "load",
    "load_view",
    "load_with_report",
    "parse_mixture",
    "prompt_key",
    "read",
    "read_jsonl",
    "read_parquet",
    "registry",
    "split_by_prompt",
    "to_demonstrations",
    "to_lists",
    "to_pairs",
    "to_separate",
    "to_singles",
    "write_jsonl",
    "write_parquet",
]
