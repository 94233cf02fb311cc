"""How alembic reaches the database: through the connection that `Database` hands over, or by its URL."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

from heedful.labelling.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    with create_engine(context.config.get_main_option("sqlalchemy.url") or "").connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
else:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()
