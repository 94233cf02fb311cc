"""What a result was measured on: hardware and versions; no names, no paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

BUSY = 0.5
"""Load per core, before the first part, from which on a result is marked as taken on a busy machine."""


def machine(threads: int) -> dict[str, Any]:
    """Facts for the results' file."""
    from heedful.training.environment import environment

    facts = environment(threads)
    facts["platform"] = (
        f"{platform.system()}-{platform.machine()}"  # the kernel's build says more of whose machine it is
    )
    facts["packages"] = {**facts["packages"], "trl": importlib.metadata.version("trl")}
    git = facts.pop("git")
    facts["commit"] = git and git["commit"]
    facts["load_per_core"] = round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
    return facts
