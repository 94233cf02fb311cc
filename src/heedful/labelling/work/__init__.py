"""A labeller's work: claim an item, keep it, answer, skip, report, change one's mind.

claim, progress                                 the next item, and how far one is
submit, revise, mine                            answers
heartbeat, save_draft, skip_task, flag_task     what else one can do with an item that one holds
Refused, SKIP_REASONS, FLAG_KINDS               what is not allowed, and reasons
"""

from __future__ import annotations

from heedful.labelling.work.answers import Submitted, mine, revise, submit
from heedful.labelling.work.claims import Progress, Shown, Task, claim, progress
from heedful.labelling.work.held import flag_task, heartbeat, save_draft, skip_task
from heedful.labelling.work.refused import FLAG_KINDS, SKIP_REASONS, Refused

__all__ = [
    "FLAG_KINDS",
    "SKIP_REASONS",
    "Progress",
    "Refused",
    "Shown",
    "Submitted",
    "Task",
    "claim",
    "flag_task",
    "heartbeat",
    "mine",
    "progress",
    "revise",
    "save_draft",
    "skip_task",
    "submit",
]
