"""Rewrite the parts of the README that are made from the code: the tree of the package, one line per file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "heedful"
WIDTH = 26
"""Column at which the descriptions begin."""


def tree() -> str:
    """`src/heedful` as an indented list: every Python file with the first line of its docstring, recipes by folder."""
    return "\n".join(["src/heedful/", *_lines(PACKAGE, 1)])


def replace(readme: str, name: str, content: str) -> str:
    """The README with the text between `<!-- name -->` and `<!-- /name -->` replaced."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    found = re.search(re.escape(begin) + ".*?" + re.escape(end), readme, re.DOTALL)
    assert found is not None, f"README.md has no {begin} … {end}"
    return readme[: found.start()] + f"{begin}\n{content}\n{end}" + readme[found.end() :]


def write() -> None:
    """Bring README.md up to date."""
    path = ROOT / "README.md"
    path.write_text(replace(path.read_text(encoding="utf-8"), "tree", f"```\n{tree()}\n```"), encoding="utf-8")


def _lines(folder: Path, depth: int) -> list[str]:
    lines = []
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.suffix == ".py" and path.name != "__init__.py":
            lines.append(_entry(path.name, depth, _about(path)))
        elif path.is_dir() and (path / "__init__.py").exists():
            lines += [_entry(f"{path.name}/", depth, _about(path / "__init__.py")), *_lines(path, depth + 1)]
        elif path.is_dir() and any(path.rglob("*.yaml")):
            lines.append(_entry(f"{path.name}/", depth, " · ".join(sorted(file.stem for file in path.glob("*.yaml")))))
            lines += _lines(path, depth + 1)
    if depth == 1:
        lines.insert(0, _entry("__init__.py", depth, _about(folder / "__init__.py")))
    return lines


def _entry(name: str, depth: int, about: str) -> str:
    return f"{'  ' * depth + name:{WIDTH}} {about}".rstrip()


def _about(path: Path) -> str:
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(doc.split("\n\n")[0].split()).split(".  ")[0].removesuffix(".")


if __name__ == "__main__":
    write()
