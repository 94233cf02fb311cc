from __future__ import annotations

import ast

import pytest

from heedful.types import RunError
from heedful.workflows.corpus import collect_functions, split_by_file, to_example

SOURCE = '''
import os

class A:
    @property
    def first(self, a,
              b=1):
        # a comment stays with the body
        return a +b

    def doc(self):
        """Text

        further in."""

        # why
        return 1

    def nothing_else(self):
        "Words."

    def same_line(self):
        "Words."; return 1


def oneliner(): return 1
async def second(x):

    return x
def first(self, a,
          b=1):
    # a comment stays with the body
    return a +b
def tabbed():
\treturn 1
def greek():
    return "α"
'''


@pytest.fixture
def library(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "a.py").write_text(SOURCE)
    (tmp_path / "b.py").write_text("def other(y):\n    return y\n")
    (tmp_path / "broken.py").write_text("def broken(:\n")
    (tmp_path / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\n# \xe9\ndef f():\n    pass\n")
    (tmp_path / "test" / "c.py").write_text("def skipped():\n    return 0\n")
    return tmp_path


def test_functions_are_cut_out_as_written_and_moved_to_the_margin(library):
    found = {f.header: f for f in collect_functions(library, shortest=1)}
    assert set(found) == {
        "def first(self, a,\n          b=1):\n",
        "def doc(self):\n",
        "async def second(x):\n",
        "def other(y):\n",
    }
    first = found["def first(self, a,\n          b=1):\n"]
    assert first.body == "    # a comment stays with the body\n    return a +b\n"
    assert (first.file, first.line) == ("a.py", 30)  # the two equal ones count once
    assert found["async def second(x):\n"].body == "\n    return x\n"
    assert found["def doc(self):\n"].body == "    # why\n    return 1\n"


def test_length_bounds(library):
    texts = [f.header + f.body for f in collect_functions(library, shortest=30, longest=40)]
    assert texts
    assert all(30 <= len(t) <= 40 for t in texts)


@pytest.mark.slow
def test_the_real_library_gives_thousands_and_the_same_each_time():
    functions = collect_functions(longest=200)
    assert len(functions) > 2000
    assert len({f.header + f.body for f in functions}) == len(functions)
    for f in functions[::97]:
        ast.parse(f.header + f.body)
        assert f.header.rstrip().endswith(":")
    assert functions == collect_functions(longest=200)


@pytest.mark.slow
def test_held_out_headers_are_unseen():
    functions = collect_functions(longest=200)
    train, test = split_by_file(functions, held_out=0.1, seed=3)
    assert test
    assert not {f.file for f in train} & {f.file for f in test}
    assert not {f.header for f in train} & {f.header for f in test}
    assert split_by_file(functions, held_out=0.1, seed=4)[1] != test


def test_an_example_is_header_and_body(library):
    example = to_example(next(f for f in collect_functions(library, shortest=1) if f.file == "b.py"))
    assert (example.prompt[0].content, example.responses[0].text) == ("def other(y):\n", "    return y\n")
    assert example.id == "b.py:1"


def test_a_library_without_sources_is_refused(tmp_path):
    with pytest.raises(RunError, match="no Python source"):
        collect_functions(tmp_path)
