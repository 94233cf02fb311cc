from __future__ import annotations

import random
import sysconfig
from pathlib import Path

import pycodestyle
import pytest

from heedful.scorers.documents import lines_of
from heedful.scorers.pep8_checks import SIGNS, UNEVEN, WORDS, found_in

UNREADABLE = (UnicodeError, IndexError, ValueError, RecursionError)
ODD = [
    "",
    "\n",
    "x",
    "\\",
    "x = \\\n",
    "if (a\n",
    "    '''open\n",
    "a = 1;\n",
    "l = O = I = 0\n",
    "def f(l, O=1): return l\n",
    "x = '\\d'  # noqa\n",
    "x = '\\d'\n",
    "x = (1 + \\\n     2)\n",
    "\ufeffx=1\n",
    "#!shebang\n#:x\n#x\n##  x\n",
    "\tif x:\n        y = 1\n\tz\n",
    "f(a = 1, b: int=2)\n",
    "import os, sys\nx = 1\nimport re\n",
    'x = """a  \n\tb \\d\n"""\n',
    "x = 1\r\ny=2\r\n",
    "x\n\n\n\n",
    "def f():\n  pass\ndef g():\n  pass",
    "x = 1  # noqa\ny = '''abc\n" + "a b " * 40 + "\n",
    "x = 1\ny = '''abc  # noqa\n" + "a b " * 40 + "\n",
    "x = (  # noqa\n" + "a b " * 40 + "\n",
    "x = [" + "1," * 2000 + "]\n",
    "x = f (1)\ny = d [0]\nz = g\\\n    (1)\n",
    "f(a, '#  x', b)  # noqa\ng(a,'b')#c\n",
    "x = 1\n   ",
    "if x:\n    y = 1\n  ",
    "yield(x)\nassert(y)\nz = not(x)or(y)\n",
    "x = 'a' 'b';y = rb'c'\n",
    "x = y[a :b]\nprint(x , y)\n)\nz=1\n",
    "x -== None\n",
    '"""\n\xa0doc\n"""\nif x:\n    y = 1\n    z = 2\n',
    "\xa0x = 1\nif x:\n    y = 1\n",
    "x = 'a == type(b.c) \\\nno\n",
    "y = 'a\\\n== type(1) \nx = 1\n",
    "a\xb7type(x.y) == 1\n",
    "x = 1\ny = None == x  # noqa\r",
    "import os\nx = 1\nimport re  # noqa\r",
    "try:\n    x\nexcept: # noqa\r",
    "x = [" + "'a' ,\"b\"," * 3000 + "]\n",
    "# only a comment\n    # one that is indented\n#noqa\n",
    "x = 'broken\\\nends',2\ny = 'broken\\\nnot\n'''a\nb'''\n",
    "\tx = 1\n        y = 2\n\tz = 3    \n" + "\t" + "a" * 90 + "\n",
]

DAMAGE = [
    *"lOI=!#\\ \t\n\r\f\xa0()[]{}:;,.'\"@é",
    *('"""', "'''", " " * 90, "    ", "\\\n", "\n\n", "  # noqa", "# noqa\r", "a", "b.c ", "if x:\n    y\n"),
    *(" == None", "== type(", "except:", "lambda l:", "not(", "def l(", "import re\n", "rb'", 'f"{'),
]
"""What damages code, or makes up text that is none."""


class Kept(pycodestyle.BaseReport):
    """All that pycodestyle finds when it calls its checks itself."""

    def __init__(self, options):
        super().__init__(options)
        self.found = []

    def error(self, line_number, offset, text, check):
        if not self._ignore_code(text[:4]):
            self.found.append((line_number, text[:4]))
        return text[:4]


def by_pycodestyle(text: str) -> list[tuple[int, str]] | str:
    options = pycodestyle.StyleGuide(config_file=False, quiet=2).options
    report = Kept(options)
    try:
        pycodestyle.Checker(lines=list(lines_of(text)), options=options, report=report).check_all()
    except UNREADABLE as error:
        return type(error).__name__
    return sorted(report.found)


def by_us(text: str) -> list[tuple[int, str]] | str:
    try:
        return sorted(found_in(list(lines_of(text))))
    except UNREADABLE as error:
        return type(error).__name__


def modules(number: int, longest: int) -> list[str]:
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in sorted(stdlib.rglob("*.py")) if path.stat().st_size < longest]
    return [path.read_text(encoding="utf-8", errors="ignore") for path in random.Random(0).sample(paths, number)]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_have_the_violations_that_pycodestyle_finds(text):
    assert by_us(text) == by_pycodestyle(text)


def test_the_standard_library_has_the_violations_that_pycodestyle_finds():
    found = [(by_us(text), by_pycodestyle(text)) for text in modules(60, 30_000)]
    assert all(ours == theirs for ours, theirs in found)
    assert len({code for ours, _ in found for _, code in ours}) > 20


def test_damaged_code_has_the_violations_that_pycodestyle_finds():
    rng = random.Random(1)
    for text in modules(40, 6_000):
        damaged = list(text)
        for _ in range(rng.randint(1, 12)):
            place = rng.randrange(len(damaged) + 1)
            damaged[place : place + rng.randint(0, 3)] = rng.choice(DAMAGE)
        assert by_us("".join(damaged)) == by_pycodestyle("".join(damaged))


def test_mere_signs_have_the_violations_that_pycodestyle_finds():
    rng = random.Random(2)
    for _ in range(3_000):
        text = "".join(rng.choices(DAMAGE, k=rng.randint(1, 14)))
        assert by_us(text) == by_pycodestyle(text), text


def test_every_check_that_is_left_out_at_times_is_one_of_pycodestyles():
    logical, physical = (
        {check.__name__ for check in pycodestyle._checks[kind]} for kind in ("logical_line", "physical_line")
    )
    assert SIGNS.keys() | WORDS.keys() | {"maximum_doc_length"} <= logical
    assert physical >= UNEVEN
