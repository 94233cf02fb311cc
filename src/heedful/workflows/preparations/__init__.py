"""The preparations of published data sets, by the name their recipes give."""

from __future__ import annotations

from heedful.workflows.preparations.comet import COMET
from heedful.workflows.preparations.dialogues import FAITHDIAL, FAITHDIAL_WOW, WOW
from heedful.workflows.preparations.hh import HH
from heedful.workflows.preparations.preparation import Preparation, Settings
from heedful.workflows.preparations.reddit import REDDIT

PREPARATIONS: dict[str, Preparation] = {
    "hh": HH,
    "comet": COMET,
    "reddit": REDDIT,
    "wow": WOW,
    "faithdial": FAITHDIAL,
    "faithdial_wow": FAITHDIAL_WOW,
}

__all__ = ["PREPARATIONS", "Preparation", "Settings"]
