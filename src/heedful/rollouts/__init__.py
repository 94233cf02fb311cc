"""Prompts to samples."""

from heedful.rollouts.export import to_examples
from heedful.rollouts.sampler import NoRoom, SamplingTemplate, in_order, sample
from heedful.rollouts.settings import SamplingSettings

__all__ = ["NoRoom", "SamplingSettings", "SamplingTemplate", "in_order", "sample", "to_examples"]
