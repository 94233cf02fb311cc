"""Projects, their versions and their members."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, Integer, bindparam, func, insert, select, update

from heedful.config.errors import reason
from heedful.config.suggest import did_you_mean
from heedful.labelling.accounts import Account, find_user
from heedful.labelling.events import CLI, Actor, record
from heedful.labelling.questions import Questions
from heedful.labelling.settings import MOST_ANSWERS, ProjectSettings
from heedful.labelling.tables import (
    MEMBER_ROLES,
    PROJECT_STATES,
    item,
    membership,
    project,
    project_version,
    slot,
)
from heedful.types import UserError

_VERSION = (project_version.c.project_id == project.c.id) & (
    project_version.c.version == func.coalesce(bindparam("version", type_=Integer), project.c.current_version)
)
AS_IT_IS = select(project, project_version).join(project_version, _VERSION).where(project.c.slug == bindparam("slug"))
MEMBER = select(membership.c.role, membership.c.paused, membership.c.quota).where(
    membership.c.project_id == bindparam("project"), membership.c.user_id == bindparam("person")
)
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class Project:
    """A project as it is now."""

    id: int
    slug: str
    name: str
    state: str
    version: int
    questions: Questions
    guidelines: str
    settings: ProjectSettings


@dataclass(frozen=True)
class Membership:
    """What somebody is in a project.  role: None for a stranger."""

    role: str | None
    paused: bool = False
    quota: int | None = None

    @property
    def may_manage(self) -> bool:
        """Whether they may see everything and change the project."""
        return self.role == "manager"

    @property
    def may_adjudicate(self) -> bool:
        """Whether they may decide what labellers disagree on."""
        return self.role in ("manager", "adjudicator")


def is_there(connection: Connection, slug: str) -> bool:
    """Whether there is a project of that name."""
    return connection.execute(select(project.c.id).where(project.c.slug == slug)).first() is not None


def check_slug(slug: str) -> None:
    """Raises UserError for what cannot be a project's name."""
    if not SLUG.fullmatch(slug):
        raise UserError(f"{slug!r} is no project's name: small letters, digits and dashes, 64 at most.")


def questions_of(value: Any) -> Questions:
    """The questions that a mapping describes.  Raises UserError for what is none, or for no question at all."""
    try:
        questions = Questions.model_validate(value)
    except ValidationError as problem:
        raise UserError(f"questions: {_first(problem, Questions)}") from None
    if not set(questions.asked()) - {"rationale", "confidence"}:
        raise UserError("a project asks at least one of preference, ranking, rating, thumbs and safety.")
    return questions


def settings_of(value: Any) -> ProjectSettings:
    """The settings that a mapping describes.  Raises UserError for an unknown or impossible one."""
    try:
        return ProjectSettings.model_validate(value)
    except ValidationError as problem:
        raise UserError(f"settings: {_first(problem, ProjectSettings)}") from None


def _first(problem: ValidationError, schema: type[BaseModel]) -> str:
    first = problem.errors()[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        there = list(schema.model_fields) if len(first["loc"]) == 1 else []
        known = f" (there are: {', '.join(there)})" if there else ""
        return f"{place} is unknown{did_you_mean(place, there)}{known}."
    return f"{place}: {reason(first)}." if place else f"{reason(first)}."


def get_project(connection: Connection, slug: str, version: int | None = None) -> Project:
    """The project as it is, or as of a version.  Raises UserError for an unknown one, naming those there are."""
    row = connection.execute(AS_IT_IS, {"slug": slug, "version": version}).first()
    if row is None:
        there = ", ".join(connection.execute(select(project.c.slug).order_by(project.c.slug)).scalars()) or "none"
        raise UserError(f"there is no project {slug!r} (there are: {there}).")
    return Project(
        row.id,
        row.slug,
        row.name,
        row.state,
        row.version,
        Questions.model_validate(row.questions),
        row.guidelines,
        ProjectSettings.model_validate(row.settings),
    )


def rename(connection: Connection, slug: str, name: str, actor: Actor = CLI) -> None:
    """Call a project something else on the pages; its slug stays.  Raises UserError for an unknown project."""
    found = get_project(connection, slug)
    connection.execute(update(project).where(project.c.id == found.id).values(name=name))
    record(connection, actor, "project.rename", "project", slug, {"name": name})


def set_state(connection: Connection, slug: str, state: str, actor: Actor = CLI) -> None:
    """Open, pause or close a project.  Raises UserError for an unknown state, and for opening one without items."""
    if state not in PROJECT_STATES:
        raise UserError(f"{state!r} is no state of a project: {', '.join(PROJECT_STATES)}.")
    found = get_project(connection, slug)
    if state == "open" and not connection.execute(select(item.c.id).where(item.c.project_id == found.id)).first():
        raise UserError(f"{slug} has no items; import some first.")
    connection.execute(update(project).where(project.c.id == found.id).values(state=state))
    record(connection, actor, f"project.{state}", "project", slug)


def set_member(
    connection: Connection,
    slug: str,
    username: str,
    *,
    role: str = "annotator",
    paused: bool = False,
    quota: int | None = None,
    actor: Actor = CLI,
) -> None:
    """Make somebody a member, or change what they are.  Raises UserError for an unknown user or role."""
    if role not in MEMBER_ROLES:
        raise UserError(f"{role!r} is no role in a project: {', '.join(MEMBER_ROLES)}.")
    if quota is not None and not 1 <= quota <= MOST_ANSWERS:
        raise UserError(f"quota must be 1 to {MOST_ANSWERS:,} answers, not {quota}.")
    found, user_id = get_project(connection, slug), find_user(connection, username)
    values = {"role": role, "paused": paused, "quota": quota}
    here = (membership.c.project_id == found.id) & (membership.c.user_id == user_id)
    if not connection.execute(update(membership).where(here).values(**values)).rowcount:
        connection.execute(insert(membership).values(project_id=found.id, user_id=user_id, **values))
    record(connection, actor, "project.member", "project", slug, {"user": username, **values})


def pause_member(connection: Connection, slug: str, username: str, *, paused: bool, actor: Actor = CLI) -> None:
    """Give a member no work for now, or work again; nothing else of them changes.  Raises UserError for strangers."""
    found, user_id = get_project(connection, slug), find_user(connection, username)
    here = (membership.c.project_id == found.id) & (membership.c.user_id == user_id)
    if not connection.execute(update(membership).where(here).values(paused=paused)).rowcount:
        raise UserError(f"{username} is no member of {slug}.")
    record(connection, actor, "project.member", "project", slug, {"user": username, "paused": paused})


def member_of(connection: Connection, account: Account, project_id: int) -> Membership:
    """What somebody is in a project; an admin is a manager of all."""
    row = connection.execute(MEMBER, {"project": project_id, "person": account.id}).first()
    if account.is_admin:
        return Membership("manager", row.paused if row else False, row.quota if row else None)
    return Membership(row.role, row.paused, row.quota) if row else Membership(None)


def answers_of(connection: Connection, project_id: int, user_id: int) -> int:
    """How many answers somebody gave, those on gold and repetitions too: nobody learns from the count which were."""
    mine = (slot.c.user_id == user_id) & (slot.c.project_id == project_id) & (slot.c.state == "done")
    return connection.execute(select(func.count()).select_from(slot).where(mine)).scalar_one()


def projects_for(connection: Connection, account: Account) -> list[dict[str, Any]]:
    """The projects that somebody sees: id, slug, name, state, role, paused, answers (theirs), oldest first."""
    own = (membership.c.project_id == project.c.id) & (membership.c.user_id == account.id)
    rows = connection.execute(
        select(project, membership.c.role, membership.c.paused).outerjoin(membership, own).order_by(project.c.id)
    ).mappings()
    seen = [{**row} for row in rows if account.is_admin or row["role"] is not None]
    return [row | {"answers": answers_of(connection, row["id"], account.id)} for row in seen]
