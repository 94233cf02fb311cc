"""Loading, heads, prefix-sharing attention, chunked log-probabilities: from packs to numbers the objectives read."""

from heedful.models.batch import PackTensors, to_tensors
from heedful.models.folders import resolve
from heedful.models.loading import Loaded, digest, load_policy
from heedful.models.new_model import new_model
from heedful.models.saving import convert, merge, save
from heedful.models.tokenizers import load_tokenizer
from heedful.models.wrapper import PackedModel

__all__ = [
    "Loaded",
    "PackTensors",
    "PackedModel",
    "convert",
    "digest",
    "load_policy",
    "load_tokenizer",
    "merge",
    "new_model",
    "resolve",
    "save",
    "to_tensors",
]
