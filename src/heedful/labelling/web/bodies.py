"""What the JSON interface is sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from heedful.labelling.questions import Questions
from heedful.labelling.settings import MOST_PRIORITY, ProjectSettings


class Body(BaseModel):
    """What every body is: a field that is unknown is a mistake, and not passed over."""

    model_config = ConfigDict(extra="forbid")


class NewProject(Body):
    """A project to make."""

    slug: str
    name: str = ""
    questions: Questions
    guidelines: str = ""
    settings: ProjectSettings = ProjectSettings()


class NewVersion(Body):
    """What is to be asked from now on; what is left out stays."""

    questions: Questions | None = None
    guidelines: str | None = None
    settings: ProjectSettings | None = None


class ProjectChange(Body):
    """What is to change.  settings: those that change, by their names."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    settings: dict[str, Any] = {}


class ItemChange(Body):
    """What is to change.  overlap: null for as many answers as the project asks for."""

    priority: Annotated[float, Field(ge=-MOST_PRIORITY, le=MOST_PRIORITY)] = 0.0
    overlap: Annotated[int, Field(ge=1, le=100)] | None = None


class Member(Body):
    """What somebody is to be in a project."""

    role: Literal["manager", "adjudicator", "annotator"] = "annotator"
    paused: bool = False
    quota: Annotated[int, Field(ge=1)] | None = None


class Lease(Body):
    """Proof that a task is held."""

    lease_token: str


class Draft(Lease):
    """An unfinished answer."""

    value: dict[str, Any]


class Timing(Body):
    """Milliseconds from the first paint to the answer: of activity, and by the clock."""

    active_ms: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    wall_ms: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None


Version = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Submission(Draft):
    """A finished answer.  version: that of the task; the project's newest if it is left out."""

    client_key: str
    version: Version | None = None
    timing: Timing = Timing()


class Skip(Lease):
    """Why not."""

    reason: str
    comment: str = ""


class Flag(Lease):
    """What is wrong."""

    kind: str
    comment: str = ""


class Revision(Body):
    """Another answer in the place of an earlier one.  version: as of a submission."""

    value: dict[str, Any]
    client_key: str
    version: Version | None = None


class Decision(Body):
    """An adjudication."""

    value: dict[str, Any]
    category: str
    note: str = ""


class NewToken(Body):
    """A token to make."""

    name: str = ""
    scopes: list[str] = ["read"]
    days: Annotated[float, Field(gt=0, le=3650)] | None = 90
