"""A project's versions, of its questions, guidelines and settings; the first makes the project."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select, update

from heedful.labelling.database import now
from heedful.labelling.events import CLI, Actor, record
from heedful.labelling.gold import check_tolerance
from heedful.labelling.items import response_counts
from heedful.labelling.projects import Project, check_slug, get_project
from heedful.labelling.questions import Questions
from heedful.labelling.settings import ProjectSettings
from heedful.labelling.slots import replan
from heedful.labelling.tables import annotation, membership, project, project_version
from heedful.types import UserError


def create_project(
    connection: Connection,
    slug: str,
    questions: Questions,
    *,
    name: str = "",
    guidelines: str = "",
    settings: ProjectSettings | None = None,
    actor: Actor = CLI,
) -> Project:
    """A new project, in draft: nobody is given work before it is opened.

    Raises UserError for a slug that is taken or none.
    """
    check_slug(slug)
    if connection.execute(select(project.c.id).where(project.c.slug == slug)).first():
        raise UserError(f"there is a project {slug} already.")
    values = {"slug": slug, "name": name or slug, "state": "draft", "current_version": 0, "created_at": now()}
    key = connection.execute(insert(project).values(num_slots=0, **values)).inserted_primary_key
    assert key is not None
    if actor.user_id is not None:
        add = insert(membership).values(project_id=key[0], user_id=actor.user_id, role="manager")
        connection.execute(add)
    record(connection, actor, "project.create", "project", slug)
    add_version(connection, slug, questions, guidelines, settings or ProjectSettings(), actor)
    return get_project(connection, slug)


def add_version(
    connection: Connection,
    slug: str,
    questions: Questions,
    guidelines: str,
    settings: ProjectSettings,
    actor: Actor = CLI,
) -> int:
    """A new version: answers from now on name it.  Those given before keep theirs.

    Raises UserError for questions that items which are already there cannot be asked, and for settings that do not fit.
    """
    check_tolerance(questions, settings.gold_tolerance)
    row = connection.execute(
        select(project.c.id, project.c.current_version).where(project.c.slug == slug).with_for_update()
    ).one()
    before = get_project(connection, slug) if row.current_version else None
    if before is not None:
        num = connection.execute(select(func.count()).where(annotation.c.project_id == row.id)).scalar_one()
        if num and set(before.questions.asked()) != set(questions.asked()):
            raise UserError(f"{slug} has {num:,} answers to its questions; ask others in a new project.")
        for count in response_counts(connection, row.id):
            problem = questions.problem_with_item(count)
            if problem:
                raise UserError(f"there are items that cannot be asked this: {problem}.")
    version = row.current_version + 1
    connection.execute(
        insert(project_version).values(
            project_id=row.id,
            version=version,
            questions=questions.model_dump(mode="json", exclude_none=True),
            guidelines=guidelines,
            settings=settings.model_dump(mode="json"),
            created_by=actor.user_id,
            created_at=now(),
        )
    )
    connection.execute(update(project).where(project.c.id == row.id).values(current_version=version))
    if before is not None and before.settings != settings:
        replan(connection, get_project(connection, slug), before.settings)
    record(connection, actor, "project.version", "project", slug, {"version": version})
    return version
