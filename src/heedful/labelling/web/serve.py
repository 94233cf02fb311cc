"""Running the application: on this machine alone, unless told."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from heedful.labelling import accounts
from heedful.labelling.database import Database, shown
from heedful.types import Echo, UserError

if TYPE_CHECKING:
    import uvicorn

BACKLOG = 2048


def listen(host: str = "127.0.0.1", port: int = 8000, *, allow_remote: bool = False) -> socket.socket:
    """A socket that takes connections from now on: whoever follows the printed link waits, and is not refused.

    Taken before a database is opened, so that a port in use leaves nothing behind.

    Raises UserError for an address that others reach without `allow_remote`, and for a port that is taken.
    """
    if not is_local(host) and not allow_remote:
        raise UserError(
            f"{host} is reached from other machines; say --allow-remote if it should be, behind a proxy with https."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as problem:
        listening.close()
        why = problem.strerror if isinstance(problem, OSError) else "ports are 0 to 65535"
        raise UserError(f"{host}:{port} cannot be used ({why}); give another --port.") from None
    return listening


def serve(db: Database, listening: socket.socket, *, echo: Echo = print) -> None:
    """Serve until somebody stops it.  One process: SQLite has one writer."""
    import uvicorn

    host, port = listening.getsockname()[:2]
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    link = accounts.first_admin_link(db)
    echo(f"Labels in {shown(db.url)}, at {where} (stop with Ctrl-C)")
    if link is not None:
        echo(f"First, choose the admin's password: {where}/enter/{link}  (once, within a day)")
    with suppress(KeyboardInterrupt):
        uvicorn.Server(configuration(db)).run(sockets=[listening])


def configuration(db: Database) -> uvicorn.Config:
    """How the application is served.

    A proxy on this machine, or that $FORWARDED_ALLOW_IPS names, is believed who asks and whether by https; no other.
    """
    import uvicorn

    from heedful.labelling.web.app import create_app

    return uvicorn.Config(create_app(db), log_level="warning", access_log=False, server_header=False)


def is_local(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
