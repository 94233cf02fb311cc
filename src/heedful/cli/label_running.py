"""`heed label`: projects and people, the pages, the queue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from heedful.cli.label_words import Db, Port, Slug, opened
from heedful.types import UserError


def serve(
    *,
    db: Db = None,
    host: Annotated[str, Parameter(help="address to listen on")] = "127.0.0.1",
    port: Port = 8000,
    allow_remote: Annotated[bool, Parameter(help="listen on an address that others reach", negative="")] = False,
) -> None:
    """Serve the labelling pages; makes the database if there is none, and prints the admin's first link.

    Example:

      heed label serve --db labels.db
    """
    from heedful.labelling.web.serve import listen
    from heedful.labelling.web.serve import serve as run

    with listen(host, port, allow_remote=allow_remote) as listening, opened(db, create=True) as database:
        run(database, listening)


def demo(
    *,
    out: Annotated[Path, Parameter(help="folder of the demo's database")] = Path("label-demo"),
    port: Port = 8000,
) -> None:
    """Ten pairs to label, which a second labeller has answered: the tour.

    Example:

      heed label demo
    """
    from heedful.labelling.web.serve import listen
    from heedful.labelling.web.serve import serve as run
    from heedful.workflows.labels_demo import demo as fill

    with listen(port=port) as listening:
        database = fill(out)
        try:
            run(database, listening)
        finally:
            database.close()


def create(
    slug: Slug,
    /,
    *ask: Annotated[
        str, Parameter(help="what is asked: preference, ranking, rating, thumbs, safety, rationale, confidence")
    ],
    config: Annotated[
        Path | None, Parameter(help="YAML file with questions and settings, instead of names of questions")
    ] = None,
    guidelines: Annotated[Path | None, Parameter(help="Markdown file that labellers read")] = None,
    name: Annotated[str, Parameter(help="what the project is called on the pages")] = "",
    overlap: Annotated[int | None, Parameter(help="answers wanted of every item, each of another person")] = None,
    db: Db = None,
) -> None:
    """Make a project.

    Examples:

      heed label create answers preference rationale --overlap 2 --guidelines guide.md

      heed label create harm --config safety.yaml
    """
    from heedful.config.load import read_yaml
    from heedful.labelling import projects, versions

    projects.check_slug(slug)
    whole = read_yaml(config) if config is not None else {}
    unknown = set(whole) - {"questions", "settings"}
    if unknown:
        raise UserError(f"{config}: {sorted(unknown)[0]} is unknown; write questions: and settings:.")
    for part, value in whole.items():
        if not isinstance(value, dict | None):
            raise UserError(f"{config}: {part} are a mapping, as {part}: {{NAME: VALUE}}, not {value!r}")
    questions = projects.questions_of({**(whole.get("questions") or {}), **{question: {} for question in ask}})
    given = whole.get("settings") or {}
    settings = projects.settings_of(given if overlap is None else {**given, "overlap": overlap})
    guide = _read(guidelines) if guidelines is not None else ""
    with opened(db, create=True) as database, database.write() as connection:
        versions.create_project(connection, slug, questions, name=name, guidelines=guide, settings=settings)
    print(f"Made {slug}. Next: heed label import {slug} DATA, then heed label open {slug}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{path}: cannot be read ({problem}).") from None


def open_(slug: Slug, /, *, db: Db = None) -> None:
    """Give out work.

    Example:

      heed label open answers
    """
    _set_state(slug, "open", db)


def pause(slug: Slug, /, *, db: Db = None) -> None:
    """Give out no work for now.

    Example:

      heed label pause answers
    """
    _set_state(slug, "paused", db)


def close(slug: Slug, /, *, db: Db = None) -> None:
    """End the work: no answers any more, no changes.

    Example:

      heed label close answers
    """
    _set_state(slug, "closed", db)


def _set_state(slug: str, state: str, db: str | None) -> None:
    from heedful.labelling import projects

    with opened(db) as database, database.write() as connection:
        projects.set_state(connection, slug, state)
    print(f"{slug} is {state}.")


def users(
    act: Annotated[
        Literal["list", "add", "link", "disable", "enable", "member", "pause", "resume"],
        Parameter(help="list; add, or give a new link; shut out, let in; make a member of --project, pause or resume"),
    ] = "list",
    username: Annotated[str, Parameter(help="whom")] = "",
    /,
    *,
    role: Annotated[
        str, Parameter(help="add: admin, manager or annotator; member: manager, adjudicator, annotator")
    ] = "annotator",
    project: Annotated[str | None, Parameter(help="project of add, member, pause, resume")] = None,
    quota: Annotated[int | None, Parameter(help="answers that a member may give")] = None,
    url: Annotated[str, Parameter(help="where the pages are, for links")] = "http://127.0.0.1:8000",
    db: Db = None,
) -> None:
    """Add people and make them members; a new account is entered by a link that works once.

    Examples:

      heed label users add ann --project answers

      heed label users pause ann --project answers
    """
    from sqlalchemy import select

    from heedful.labelling import accounts, projects
    from heedful.labelling.tables import user

    if act != "list" and not username:
        raise UserError(f"heed label users {act} needs a name; see heed label users --help")
    if act in ("member", "pause", "resume") and project is None:
        raise UserError(f"heed label users {act} needs --project")
    with opened(db, create=act == "add" and project is None) as database:
        if act == "list":
            with database.read() as connection:
                for row in connection.execute(select(user).order_by(user.c.username)):
                    state = "shut out" if row.disabled_at else "active" if row.pw_hash else "no password yet"
                    print(f"{row.username}  {row.role}  {state}")
            return
        link = None
        with database.write() as connection:
            if act == "add":
                user_id = accounts.add_user(connection, username, role=role)
                link = accounts.make_link(connection, user_id)
                if project is not None:
                    projects.set_member(connection, project, username, quota=quota)
            elif act == "link":
                link = accounts.make_link(connection, accounts.find_user(connection, username))
            elif act in ("disable", "enable"):
                accounts.disable_user(connection, username, disabled=act == "disable")
            elif project is not None and act == "member":
                projects.set_member(connection, project, username, role=role, quota=quota)
            elif project is not None:
                projects.pause_member(connection, project, username, paused=act == "pause")
        print(f"{username}: {url}/enter/{link}  (works once, within a day)" if link else f"{username}: done.")


def suggest(
    slug: Slug,
    model: Annotated[str, Parameter(help="a reward model's folder, run folder or hub name, or a scorer's name")],
    /,
    *,
    db: Db = None,
) -> None:
    """Write a model's scores as suggestions, and put the pairs that it is unsure of first.

    Example:

      heed label suggest answers runs/reward
    """
    from heedful.scorers import get
    from heedful.training.world import choose_device
    from heedful.workflows.labels import suggest as run

    with opened(db) as database:
        with database.read() as connection:
            from heedful.labelling.projects import get_project

            get_project(connection, slug)
        number = run(database, slug, get(model, device=choose_device("auto").type), model)
    print(f"{number:,} items have scores of {model}.")


def verify_audit(*, db: Db = None) -> None:
    """Check that nothing in the audit trail was changed or removed.

    Example:

      heed label verify-audit
    """
    from heedful.labelling.events import verify
    from heedful.types import RunError

    with opened(db) as database, database.read() as connection:
        number, fault = verify(connection)
    if fault is not None:
        raise RunError(f"the audit trail is broken: {fault}.")
    print(f"{number:,} events, each as it was written.")


def backup(out: Annotated[Path, Parameter(help="file to write")], /, *, db: Db = None) -> None:
    """Copy an SQLite database, while others go on working.

    Example:

      heed label backup labels-monday.db
    """
    with opened(db) as database:
        database.backup(out)
    print(f"Wrote {out}.")
