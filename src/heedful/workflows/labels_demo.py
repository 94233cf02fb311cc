"""`heed label demo`: a project of ten pairs that a second labeller has answered already."""

from __future__ import annotations

import secrets
from pathlib import Path

from heedful.labelling import accounts, items, projects, versions, work
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.questions import Preference, Questions, Rationale
from heedful.labelling.settings import ProjectSettings
from heedful.types import Echo, Message

SLUG = "demo"
GUIDELINES = """# Which answer helps more?

Read the question, then both answers. Choose the one that **helps the person who asked** more:

1. It must be right. A wrong answer is worse than a short one.
2. It answers what was asked, no more than is useful.
3. Between two that do this equally, choose *Tie*. If neither is any use, choose *Both bad*.

Keys stand on the buttons; `u` takes you back to your last answers.
"""

# Question, an answer, another one, and which of them the second labeller preferred (None: a tie).
PAIRS: list[tuple[str, str, str, int | None]] = [
    (
        "How do I read a file line by line in Python?",
        "```python\nwith open(path) as file:\n    for line in file:\n        print(line)\n```",
        "Use `open(path).read()`, then look at each character.",
        0,
    ),
    (
        "What is 15 % of 80?",
        "15 % of 80 is 10.",
        "It is **12**: 10 % of 80 is 8, and 5 % is half of that, 4.",
        1,
    ),
    (
        "Why does bread rise?",
        "Yeast eats sugars in the dough and gives off carbon dioxide, which the gluten holds as bubbles.",
        "Because the oven is hot.",
        0,
    ),
    (
        "Give me a word that means 'very small'.",
        "Tiny.",
        "Minute.",
        None,
    ),
    (
        "Which planet is closest to the sun?",
        "Venus is the planet closest to the sun.",
        "Mercury.",
        1,
    ),
    (
        "How can I tell a friend that I cannot come to the wedding?",
        "Just do not answer; they will notice.",
        "Tell them soon and plainly: that you are sorry, that you cannot come, and that you would like to celebrate "
        "with them another day.",
        1,
    ),
    (
        "What does `git stash` do?",
        "It puts your uncommitted changes aside and gives you a clean working tree; `git stash pop` brings them back.",
        "It deletes your repository's history.",
        0,
    ),
    (
        "Is it safe to mix bleach and vinegar?",
        "**No.** The mixture gives off chlorine gas, which is poisonous. Rinse well between the two.",
        "Yes, it cleans better.",
        0,
    ),
    (
        "How many days has February in a leap year?",
        "29.",
        "A leap year's February has 29 days, since the year of 365 days is about a quarter of a day too short.",
        None,
    ),
    (
        "Summarise: The meeting moved from Monday to Wednesday because the room was taken.",
        "The room was taken on Monday, so the meeting is on Wednesday.",
        "There was a meeting about rooms, and many people discussed many things over several days.",
        0,
    ),
]


def demo(out: Path, echo: Echo = print) -> Database:
    """The demo's database in a folder, made if it is not there; the reader is its admin, by a link."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "labels.db"
    begun = path.exists()
    db = Database(str(path))
    if not begun:
        _fill(db)
    echo(f"{len(PAIRS)} pairs, which a second labeller has answered.  See how far you agree, and train on it:")
    echo(f"  heed label agreement {SLUG} --db {path}")
    echo(f"  heed label export {SLUG} pairs.jsonl --db {path}")
    echo(f"  HEEDFUL_LABELS={path} heed train reward data=label:{SLUG} model=…")
    return db


def _fill(db: Database) -> None:
    asked = Questions(preference=Preference(title="Which answer helps more?", strength=2), rationale=Rationale())
    added = [
        NewItem(
            [Message("user", question)],
            [NewResponse([Message("assistant", text)]) for text in (one, other)],
            f"demo-{number}",
        )
        for number, (question, one, other, _) in enumerate(PAIRS, start=1)
    ]
    with db.write() as connection:
        settings = ProjectSettings(overlap=2)
        versions.create_project(
            connection, SLUG, asked, name="Which answer helps more?", guidelines=GUIDELINES, settings=settings
        )
        items.add_items(connection, SLUG, added)
        projects.set_state(connection, SLUG, "open")
        second = accounts.add_user(connection, "second", display_name="A second labeller")
        projects.set_member(connection, SLUG, "second")
    account = Account(second, "second", "A second labeller", "annotator")
    for _, _, _, better in PAIRS:
        task = work.claim(db, account, SLUG)
        assert task is not None
        said = {"winner": None, "outcome": "tie"} if better is None else {"winner": f"r{better}", "strength": 2}
        work.submit(db, account, task.slot, task.lease_token, secrets.token_hex(8), {"preference": said})
