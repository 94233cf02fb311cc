"""The preparations of published data sets, by the name their recipes give."""

from __future__ import annotations

from heedful.workflows.preparations.comet import COMET
from heedful.workflows.preparations.dialogues import FAITHDIAL, FAITHDIAL_WOW, WOW
from heedful.workflows.preparations.hh import HH
from heedful.workflows.preparations.preparation import Preparation, Settings
from heedful.workflows.preparations.reddit import REDDIT
from heedful.workflows.preparations.sources import PACKAGE_PAPERS, PYTHON_FUNCTIONS

PREPARATIONS: dict[str, Preparation] = {
    "hh": HH,
    "comet": COMET,
    "reddit": REDDIT,
    "wow": WOW,
    "faithdial": FAITHDIAL,
    "faithdial_wow": FAITHDIAL_WOW,
    "python_functions": PYTHON_FUNCTIONS,
    "package_papers": PACKAGE_PAPERS,
}

__all__ = ["PREPARATIONS", "Preparation", "Settings"]
