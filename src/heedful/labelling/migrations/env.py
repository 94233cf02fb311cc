"""How alembic reaches the database: through the connection that `Database` hands over."""

from __future__ import annotations

from alembic import context

from heedful.labelling.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
