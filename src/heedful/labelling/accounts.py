"""Accounts: passwords, sessions, one-time links and API tokens."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from heedful.labelling.database import Database, now
from heedful.labelling.events import CLI, Actor, record
from heedful.labelling.tables import ROLES, api_token, login_link, session, user
from heedful.types import UserError

SESSION_S = 14 * 86_400.0
LINK_S = 86_400.0
SHORTEST_PASSWORD = 10
USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
SCOPES = ("read", "label", "manage")
"""Of a token: look at projects and exports; answer; make and change projects.  Never more than its owner may."""


@dataclass(frozen=True)
class Account:
    """Somebody who is logged in.  scopes: of the token; a session has all.  token: the id of the token."""

    id: int
    username: str
    display_name: str
    role: str
    via: str = "session"
    scopes: tuple[str, ...] = SCOPES
    csrf: str = ""
    token: int | None = None

    @property
    def actor(self) -> Actor:
        """Who the audit trail says it was."""
        return Actor(self.id, self.via)

    @property
    def is_admin(self) -> bool:
        """Whether the account may do everything."""
        return self.role == "admin"


@lru_cache(maxsize=1)
def _hasher() -> PasswordHasher:
    return PasswordHasher()  # argon2id, RFC 9106's second choice of costs


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    """Verified for unknown names, so that an answer takes as long as for a known one."""
    return _hasher().hash(secrets.token_hex(16))


def sha256(secret: str) -> str:
    """What is stored of a session, link or token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add_user(
    connection: Connection,
    username: str,
    *,
    role: str = "annotator",
    display_name: str = "",
    password: str | None = None,
    actor: Actor = CLI,
) -> int:
    """A new account's id.  Without a password it is entered by a link.

    Raises UserError for a name that is taken or none, an unknown role and a weak password.
    """
    name = username.strip().lower()
    if not USERNAME.fullmatch(name):
        raise UserError(f"{username!r} is no user name: letters, digits and . _ @ + - , 64 at most.")
    if role not in ROLES:
        raise UserError(f"{role!r} is no role: {', '.join(ROLES)}.")
    if connection.execute(select(user.c.id).where(user.c.username == name)).first():
        raise UserError(f"the name {name} is taken.")
    values = {"username": name, "role": role, "display_name": display_name or username.strip(), "created_at": now()}
    hashed = None if password is None else hash_password(password)
    try:
        key = connection.execute(insert(user).values(pw_hash=hashed, **values)).inserted_primary_key
    except IntegrityError:
        raise UserError(f"the name {name} is taken.") from None
    assert key is not None
    record(connection, actor, "user.create", "user", name, {"role": role})
    return key[0]


def username_of(name: str) -> str:
    """The user name here of somebody who is called so elsewhere."""
    cleaned = re.sub(r"[^a-z0-9._@+-]", "-", name.strip().lower())[:56]
    return cleaned if USERNAME.fullmatch(cleaned) else f"u{cleaned}"


def hash_password(password: str) -> str:
    """argon2id.  Raises UserError for a short one."""
    if len(password) < SHORTEST_PASSWORD:
        raise UserError(f"a password has at least {SHORTEST_PASSWORD} characters.")
    if len(password) > 1024:
        raise UserError("a password has at most 1,024 characters.")
    return _hasher().hash(password)


def set_password(connection: Connection, user_id: int, password: str, actor: Actor) -> None:
    """Change a password; whoever was logged in by the old one no longer is."""
    connection.execute(update(user).where(user.c.id == user_id).values(pw_hash=hash_password(password)))
    connection.execute(delete(session).where(session.c.user_id == user_id))
    connection.execute(delete(login_link).where(login_link.c.user_id == user_id))
    record(connection, actor, "user.password", "user", user_id)


def disable_user(connection: Connection, username: str, *, disabled: bool, actor: Actor = CLI) -> None:
    """Shut an account out, or let it in again; its answers stay.  Raises UserError for an unknown name."""
    user_id = find_user(connection, username)
    if disabled:
        rest = select(user.c.id).where(user.c.role == "admin", user.c.disabled_at.is_(None), user.c.id != user_id)
        is_admin = connection.execute(select(user.c.role).where(user.c.id == user_id)).scalar_one() == "admin"
        if is_admin and connection.execute(rest).first() is None:
            raise UserError(f"{username} is the last admin; make another one first.")
        connection.execute(delete(session).where(session.c.user_id == user_id))
    connection.execute(update(user).where(user.c.id == user_id).values(disabled_at=now() if disabled else None))
    record(connection, actor, "user.disable" if disabled else "user.enable", "user", username)


def find_user(connection: Connection, username: str) -> int:
    """An account's id.  Raises UserError for an unknown name."""
    found = connection.execute(select(user.c.id).where(user.c.username == username.strip().lower())).scalar()
    if found is None:
        raise UserError(f"there is no user {username!r}.")
    return found


def make_link(connection: Connection, user_id: int) -> str:
    """A secret that lets somebody in once, within a day; it replaces earlier ones."""
    secret = secrets.token_urlsafe(24)
    connection.execute(delete(login_link).where(login_link.c.user_id == user_id))
    values = {"sha256": sha256(secret), "user_id": user_id, "expires_at": now() + LINK_S}
    connection.execute(insert(login_link), values)
    return secret


def first_admin_link(db: Database) -> str | None:
    """Of a database without an admin who can log in: the secret by which one gets in; else None."""
    with db.write() as connection:
        admins = connection.execute(
            select(user.c.id, user.c.pw_hash).where(user.c.role == "admin", user.c.disabled_at.is_(None))
        ).all()
        if any(row.pw_hash for row in admins):
            return None
        admin = admins[0].id if admins else add_user(connection, "admin", role="admin", display_name="Admin")
        return make_link(connection, admin)


def owner_of_link(connection: Connection, secret: str) -> tuple[str, str] | None:
    """Name and role of whom a link would let in; None if it is unknown, used or too old."""
    row = connection.execute(
        select(user.c.username, user.c.role)
        .join(login_link, login_link.c.user_id == user.c.id)
        .where(login_link.c.sha256 == sha256(secret), login_link.c.expires_at > now(), user.c.disabled_at.is_(None))
    ).first()
    return None if row is None else (row.username, row.role)


def use_link(connection: Connection, secret: str) -> int | None:
    """Whom a link lets in, who is no longer let in by it; None if it is unknown or too old."""
    asked = login_link.c.sha256 == sha256(secret)
    row = connection.execute(select(login_link.c.user_id, login_link.c.expires_at).where(asked)).first()
    if row is None:
        return None
    connection.execute(delete(login_link).where(asked))
    alive = connection.execute(select(user.c.id).where(user.c.id == row.user_id, user.c.disabled_at.is_(None))).first()
    return row.user_id if alive and row.expires_at > now() else None


def check_password(db: Database, username: str, password: str) -> int | None:
    """The account's id if the password is right and the account open.  Takes as long for a name that is unknown."""
    with db.read() as connection:
        row = connection.execute(
            select(user.c.id, user.c.pw_hash, user.c.disabled_at).where(user.c.username == username.strip().lower())
        ).first()
    hashed = row.pw_hash if row is not None and row.pw_hash else _nobodys_hash()
    try:
        _hasher().verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return None
    return row.id if row is not None and row.pw_hash and row.disabled_at is None else None


def begin_session(connection: Connection, user_id: int) -> str:
    """A new session's secret, for a cookie; sessions that ran out are removed."""
    secret = secrets.token_urlsafe(32)
    connection.execute(delete(session).where(session.c.expires_at < now()))
    values = {"sha256": sha256(secret), "user_id": user_id, "csrf": secrets.token_urlsafe(24), "created_at": now()}
    connection.execute(insert(session), values | {"expires_at": now() + SESSION_S})
    record(connection, Actor(user_id, "session"), "login", "user", user_id)
    return secret


def end_session(connection: Connection, secret: str) -> None:
    """Log out."""
    connection.execute(delete(session).where(session.c.sha256 == sha256(secret)))


def by_session(connection: Connection, secret: str) -> Account | None:
    """Who has this session."""
    row = connection.execute(
        select(user, session.c.csrf)
        .join(session, session.c.user_id == user.c.id)
        .where(session.c.sha256 == sha256(secret), session.c.expires_at > now(), user.c.disabled_at.is_(None))
    ).first()
    return None if row is None else Account(row.id, row.username, row.display_name, row.role, csrf=row.csrf)


def is_same(secret: str, sent: str) -> bool:
    """Whether a secret was sent, told in a time that says nothing of it."""
    return secrets.compare_digest(secret.encode(), sent.encode("utf-8", "replace"))


def make_token(
    connection: Connection, user_id: int, name: str, scopes: Sequence[str], days: float | None, actor: Actor
) -> str:
    """A new API token, which is shown once and never again.  Raises UserError for scopes that are none."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise UserError(f"a token's scopes are some of {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}.")
    secret = f"heed_{secrets.token_urlsafe(32)}"
    values: dict[str, Any] = {"user_id": user_id, "name": name or "token", "prefix": secret[:12]}
    values |= {"sha256": sha256(secret), "scopes": list(scopes), "created_at": now()}
    values["expires_at"] = None if days is None else now() + days * 86_400
    connection.execute(insert(api_token), values)
    record(connection, actor, "token.create", "token", secret[:12], {"scopes": list(scopes)})
    return secret


def revoke_token(connection: Connection, token_id: int, owner: int | None, actor: Actor) -> bool:
    """Whether there was such a token; owner: whose it must be, None for anybody's."""
    mine = (
        api_token.c.id == token_id if owner is None else (api_token.c.id == token_id) & (api_token.c.user_id == owner)
    )
    done = connection.execute(update(api_token).where(mine, api_token.c.revoked_at.is_(None)).values(revoked_at=now()))
    if done.rowcount:
        record(connection, actor, "token.revoke", "token", token_id)
    return bool(done.rowcount)


def by_token(connection: Connection, secret: str) -> Account | None:
    """Who has this token."""
    row = connection.execute(
        select(user, api_token.c.id.label("token"), api_token.c.scopes, api_token.c.expires_at)
        .join(api_token, api_token.c.user_id == user.c.id)
        .where(api_token.c.sha256 == sha256(secret), api_token.c.revoked_at.is_(None), user.c.disabled_at.is_(None))
    ).first()
    if row is None or (row.expires_at is not None and row.expires_at < now()):
        return None
    return Account(row.id, row.username, row.display_name, row.role, "token", tuple(row.scopes), token=row.token)
