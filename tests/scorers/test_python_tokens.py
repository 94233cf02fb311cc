from __future__ import annotations

import random
import sys
import sysconfig
import tokenize
from pathlib import Path

import pytest

from heedful.scorers.documents import lines_of
from heedful.scorers.python_tokens import scan

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 12), reason="there it is the standard library's own")
SIGNS = [
    *"lOI=#\\ \t\n\r\f()[]{}:;,'\"@é²٣0123eExXjJ_.!$?`|<>*/-+%&^~ab",
    *(
        "'''",
        '"""',
        "\\\n",
        "\\\r\n",
        "rb'",
        'f"',
        "0x",
        "1e",
        "0b1_",
        "...",
        ":=",
        "->",
        "**=",
        "bc ",
        " " * 9,
        "\n\n",
    ),
]


def tokens(function, text: str) -> list[tuple]:
    """What it gives, and what it raises."""
    found: list[tuple] = []
    try:
        for token in function(iter([*lines_of(text), "", ""]).__next__):
            found.append((type(token), *token))
    except (SyntaxError, tokenize.TokenError) as error:
        found.append((type(error), *error.args))
    return found


def modules(number: int) -> list[str]:
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in sorted(stdlib.rglob("*.py")) if path.stat().st_size < 30_000]
    return [path.read_text(encoding="utf-8", errors="ignore") for path in random.Random(3).sample(paths, number)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 0x_fF\n", ["x", "=", "0x_fF", "\n", ""]),
        ("1.5e-3j.real\n", ["1.5e-3j", ".", "real", "\n", ""]),
        ("rB'a' foo'b'\n", ["rB'a'", "foo", "'b'", "\n", ""]),
        ("if a:\n  (b,\n c)\n", ["if", "a", ":", "\n", "  ", "(", "b", ",", "\n", "c", ")", "\n", "", ""]),
        ("x = '''a\n'b'\n'''; y\n", ["x", "=", "'''a\n'b'\n'''", ";", "y", "\n", ""]),
        ("a\\\n+b", ["a", "+", "b", "", ""]),
        ("x ? y\n", ["x", " ", "?", "y", "\n", ""]),
    ],
)
def test_tokens_of_short_sources(source, found):
    assert [token.string for token in scan(iter([*lines_of(source), ""]).__next__)] == found


def test_the_standard_library_has_the_tokens_that_it_finds_itself():
    for text in modules(60):
        assert tokens(scan, text) == tokens(tokenize.generate_tokens, text)


def test_damaged_code_has_the_tokens_that_the_standard_library_finds():
    rng = random.Random(4)
    for text in modules(80):
        damaged = list(text[:3_000])
        for _ in range(rng.randint(1, 25)):
            place = rng.randrange(len(damaged) + 1)
            damaged[place : place + rng.randint(0, 3)] = rng.choice(SIGNS)
        assert tokens(scan, "".join(damaged)) == tokens(tokenize.generate_tokens, "".join(damaged))


def test_mere_signs_have_the_tokens_that_the_standard_library_finds():
    rng = random.Random(5)
    for _ in range(4_000):
        text = "".join(rng.choices(SIGNS, k=rng.randint(1, 14)))
        assert tokens(scan, text) == tokens(tokenize.generate_tokens, text), text
