"""From conversations to token streams.

Template        conversations to tokens and back: chat templates, masks, truncation
prepare         shaped examples to a token store and the data check's report, tokenised once
TokenStore      tokens, masks and labels on disk, memory-mapped
Sampler         which examples stand in step t
plan_packs, build_pack, Pack     a step's examples as flat streams in which each prompt stands once
DataReport      what went in, what was left out and why, what looks wrong
"""

from __future__ import annotations

from heedful.tokens.encoded import EncodedExample, EncodedResponse
from heedful.tokens.packs import Pack, build_pack
from heedful.tokens.planning import plan_packs
from heedful.tokens.prepare import prepare
from heedful.tokens.report import DataReport, Finding
from heedful.tokens.sampler import Sampler
from heedful.tokens.store import TokenStore
from heedful.tokens.templates import Template

__all__ = [
    "DataReport",
    "EncodedExample",
    "EncodedResponse",
    "Finding",
    "Pack",
    "Sampler",
    "Template",
    "TokenStore",
    "build_pack",
    "plan_packs",
    "prepare",
]
