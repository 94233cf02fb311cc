"""The tables of a labelling database.  Times are seconds since 1970, UTC; `public_id`s are what leaves the server."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ROLES = ("admin", "manager", "annotator")
"""Of an account; an admin may do everything, a manager make projects, an annotator what the projects allow."""
MEMBER_ROLES = ("manager", "adjudicator", "annotator")
PROJECT_STATES = ("draft", "open", "paused", "closed")
ITEM_STATES = ("open", "complete", "disputed", "final", "void")
ITEM_KINDS = ("normal", "gold", "training", "repeat")
SLOT_STATES = ("open", "leased", "done", "void")


def _id() -> Column[int]:
    # SQLite gives numbers to INTEGER primary keys only.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def _one_of(name: str, choices: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{name} IN ({', '.join(map(repr, choices))})", name=name)


def _to(table: str, **options: Any) -> Column[int]:
    return Column(f"{table}_id", ForeignKey(f"{table}.id"), **options)


user = Table(
    "user",
    metadata,
    _id(),
    Column("username", String(64), nullable=False, unique=True),  # lower case
    Column("pw_hash", Text),
    Column("display_name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("disabled_at", Float),
    Column("created_at", Float, nullable=False),
    _one_of("role", ROLES),
)

login_link = Table(
    "login_link",
    metadata,
    Column("sha256", String(64), primary_key=True),
    _to("user", nullable=False),
    Column("expires_at", Float, nullable=False),
)
"""Links that let somebody in once: the first admin, and people who are to choose a password."""

session = Table(
    "session",
    metadata,
    Column("sha256", String(64), primary_key=True),
    _to("user", nullable=False, index=True),
    Column("csrf", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

api_token = Table(
    "api_token",
    metadata,
    _id(),
    _to("user", nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

project = Table(
    "project",
    metadata,
    _id(),
    Column("slug", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("state", String(8), nullable=False),
    Column("current_version", Integer, nullable=False),
    Column("num_slots", Integer, nullable=False, default=0),  # of items that are not void
    Column("created_at", Float, nullable=False),
    _one_of("state", PROJECT_STATES),
)

project_version = Table(
    "project_version",
    metadata,
    _to("project", primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("questions", JSON, nullable=False),
    Column("guidelines", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("created_by", ForeignKey("user.id")),
    Column("created_at", Float, nullable=False),
)
"""What is asked, how, and by which guidelines.  A version never changes; every answer names its own."""

membership = Table(
    "membership",
    metadata,
    _to("project", primary_key=True),
    _to("user", primary_key=True, index=True),
    Column("role", String(16), nullable=False),
    Column("paused", Boolean, nullable=False, default=False),
    Column("quota", Integer),
    Column("num_served", Integer, nullable=False, default=0),
    Column("num_done", Integer, nullable=False, default=0),
    Column("cursor", BigInteger, nullable=False, default=0),  # no slot before this place is left for them
    _one_of("role", MEMBER_ROLES),
)

item = Table(
    "item",
    metadata,
    _id(),
    Column("public_id", String(32), nullable=False, unique=True),
    _to("project", nullable=False),
    Column("external_id", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("prompt", JSON, nullable=False),  # messages
    Column("context", JSON),  # what else a labeller sees: name → text
    Column("meta", JSON),  # what nobody sees: kept for the export
    Column("group_key", String(64), nullable=False),  # of the prompt: splits go by it
    Column("content_hash", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("repeat_of", ForeignKey("item.id"), index=True),
    Column("priority", Float, nullable=False, default=0.0),
    Column("overlap", Integer),
    Column("state", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("project_id", "external_id"),
    Index(None, "project_id", "state"),
    Index(None, "project_id", "kind"),
    _one_of("kind", ITEM_KINDS),
    _one_of("state", ITEM_STATES),
)

response = Table(
    "response",
    metadata,
    _id(),
    _to("item", nullable=False),
    Column("key", String(16), nullable=False),
    Column("content", JSON, nullable=False),  # messages
    Column("source", Text),
    Column("meta", JSON),
    UniqueConstraint("item_id", "key"),
)

slot = Table(
    "slot",
    metadata,
    _id(),
    Column("public_id", String(32), nullable=False, unique=True),
    _to("project", nullable=False),
    _to("item", nullable=False),
    Column("slot_no", Integer, nullable=False),
    Column("place", BigInteger, nullable=False),  # slots are served in this order
    Column("state", String(8), nullable=False),
    Column("user_id", ForeignKey("user.id")),
    Column("lease_token", String(64)),
    Column("lease_until", Float),
    Column("order", JSON),  # response keys as they are shown
    Column("served_at", Float),
    UniqueConstraint("item_id", "slot_no"),
    Index(None, "project_id", "state", "place"),
    _one_of("state", SLOT_STATES),
)
_taken: dict[str, Any] = {f"{dialect}_where": slot.c.user_id.is_not(None) for dialect in ("sqlite", "postgresql")}
Index("ix_slot_item_id_user_id", slot.c.item_id, slot.c.user_id, unique=True, **_taken)  # a person never twice
Index("ix_slot_user_id_project_id_state", slot.c.user_id, slot.c.project_id, slot.c.state, **_taken)
"""One answer that is wanted of an item: there are as many as its overlap, so there can be no more answers."""

skip = Table(
    "skip",
    metadata,
    _to("item", primary_key=True),
    _to("user", primary_key=True, index=True),
    Column("reason", String(32), nullable=False),
    Column("comment", Text, nullable=False),
    Column("at", Float, nullable=False),
)

draft = Table(
    "draft",
    metadata,
    _to("item", primary_key=True),
    _to("user", primary_key=True),
    Column("value", JSON, nullable=False),
    Column("updated_at", Float, nullable=False),
)

annotation = Table(
    "annotation",
    metadata,
    _id(),
    Column("public_id", String(32), nullable=False, unique=True),
    _to("project", nullable=False),
    _to("slot", nullable=False),
    _to("item", nullable=False, index=True),
    _to("user", nullable=False),
    Column("revision", Integer, nullable=False),
    Column("is_current", Boolean, nullable=False),
    Column("value", JSON, nullable=False),
    Column("project_version", Integer, nullable=False),
    Column("shown_order", JSON, nullable=False),  # empty for answers that were given elsewhere
    Column("client_key", String(64), nullable=False, unique=True),
    Column("active_ms", Integer),
    Column("wall_ms", Integer),
    Column("submitted_at", Float, nullable=False),
    Column("suspect", JSON, nullable=False),  # reasons to look twice: too fast, contradictory
    UniqueConstraint("slot_id", "revision"),
    Index(None, "project_id", "is_current"),
    Index(None, "user_id", "project_id", "submitted_at"),
)

annotation_value = Table(
    "annotation_value",
    metadata,
    _id(),
    _to("annotation", nullable=False, index=True),
    _to("project", nullable=False),
    _to("item", nullable=False),
    _to("user", nullable=False),
    Column("question", String(64), nullable=False),
    Column("response_key", String(16)),
    Column("num", Float),
    Index(None, "project_id", "question", "item_id", "response_key", "num"),
)
"""The current answers as numbers, one a row, for statistics; made from `annotation.value`, which holds."""

flag = Table(
    "flag",
    metadata,
    _id(),
    _to("item", nullable=False, index=True),
    _to("user", nullable=False),
    Column("kind", String(32), nullable=False),
    Column("comment", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("resolved_by", ForeignKey("user.id")),
    Column("resolved_at", Float),
)

gold = Table(
    "gold",
    metadata,
    _to("item", primary_key=True),
    Column("expected", JSON, nullable=False),  # the parts of an answer that must be given
    Column("explanation", Text, nullable=False),
)

suggestion = Table(
    "suggestion",
    metadata,
    _to("item", primary_key=True),
    Column("agent", String(128), primary_key=True),
    Column("value", JSON, nullable=False),
    Column("score", Float),
    Column("at", Float, nullable=False),
)

adjudication = Table(
    "adjudication",
    metadata,
    _id(),
    _to("item", nullable=False, index=True),
    _to("user", nullable=False),
    Column("value", JSON, nullable=False),
    Column("category", String(32), nullable=False),
    Column("note", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("superseded_by", ForeignKey("adjudication.id")),
)

event = Table(
    "event",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("actor_user_id", ForeignKey("user.id")),
    Column("via", String(16), nullable=False),
    Column("verb", String(32), nullable=False),
    Column("object_type", String(32), nullable=False),
    Column("object_id", String(64), nullable=False),
    Column("data", JSON, nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
"""What was done, append only: every row holds the hash of the one before it."""

event_head = Table(
    "event_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)
"""One row, there from the start: the end of the chain, locked while the next event is written."""

export_run = Table(
    "export_run",
    metadata,
    _id(),
    _to("project", nullable=False, index=True),
    Column("format", String(32), nullable=False),
    Column("params", JSON, nullable=False),
    Column("at", Float, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("user_id", ForeignKey("user.id")),
)
