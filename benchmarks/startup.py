"""How long `heed --help` and `import heedful` take, in processes of their own, beside Python doing nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.summary import summarise

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import heedful": [sys.executable, "-c", "import heedful"],
    "heed --help": [str(Path(sys.executable).with_name("heed")), "--help"],
}


def startup(times: int = 9) -> dict[str, Any]:
    """Wall time of each command, by turns, after one round that warms the disk's cache."""
    seconds = defaultdict(list)
    for number in range(times + 1):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if number:
                seconds[name].append(time.perf_counter() - began)
    return summarise(seconds)
