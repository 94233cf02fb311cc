"""The schema: what migrations make is what the code expects, on both databases."""

from __future__ import annotations

import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from heedful.labelling.database import Database
from heedful.labelling.tables import metadata
from heedful.types import UserError
from tests.labelling.conftest import make_project


def test_migrations_make_what_the_code_expects(db):
    with db.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_second_start_changes_nothing(db):
    make_project(db)
    again = Database(db.url.render_as_string(hide_password=False))
    again.close()


def test_a_newer_database_is_not_touched(tmp_path):
    path = tmp_path / "labels.db"
    Database(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UserError, match="newer Heedful"):
        Database(str(path))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("sqlite://", "in memory is lost"),
        ("mysql://localhost/x", "no mysql here"),
        ("/nowhere/at/all.db", "no folder"),
        ("://", "no database URL"),
        ("postgresql://nobody@127.0.0.1:1/x", "cannot be opened"),
    ],
)
def test_what_is_no_database(name, sentence):
    with pytest.raises(UserError, match=sentence):
        Database(name)


def test_a_folder_and_a_file_that_is_none(tmp_path):
    with pytest.raises(UserError, match="a folder"):
        Database(str(tmp_path))
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at " * 20)
    with pytest.raises(UserError, match="cannot be opened"):
        Database(str(tmp_path / "text.db"))
    with pytest.raises(UserError, match="no such database"):
        Database(str(tmp_path / "missing.db"), create=False)


def test_a_backup_is_a_database(sqlite, tmp_path):
    make_project(sqlite, 3)
    sqlite.backup(tmp_path / "copy.db")
    copy = Database(str(tmp_path / "copy.db"), create=False)
    with copy.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM item").scalar() == 3
    copy.close()
    with pytest.raises(UserError, match="exists"):
        sqlite.backup(tmp_path / "copy.db")
