"""The house keeps its rules: layers, style, types, sizes, and a README that is true."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import heedful
from heedful.cli import root

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "heedful").rglob("*.py"))
MODULES = [
    module.name
    for module in pkgutil.walk_packages(heedful.__path__, "heedful.")
    if "__main__" not in module.name and not module.name.endswith("migrations.env")  # alembic alone runs it
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
LONGEST_MODULE = 400


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=300)


# ---- the code


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports_and_says_what_it_is(name: str) -> None:
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.parent.name != "versions"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_module_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def test_every_package_has_an_init() -> None:
    assert [path for path in {path.parent for path in SOURCES} if not (path / "__init__.py").exists()] == []


@pytest.mark.slow  # `make check` has just run it
def test_imports_point_downwards() -> None:
    lint = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    linted = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert linted.returncode == 0, linted.stdout


def test_every_package_has_its_layer() -> None:
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name.strip().removeprefix("heedful.") for layer in layers for name in layer.split("|")}
    there = {
        path.stem
        for path in (ROOT / "src" / "heedful").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - {"__init__", "__main__"} == named


@pytest.mark.slow
def test_style() -> None:
    checked = run("ruff", "check", ".")
    assert checked.returncode == 0, checked.stdout
    formatted = run("ruff", "format", "--check", ".")
    assert formatted.returncode == 0, formatted.stdout


@pytest.mark.slow
def test_types() -> None:
    typed = run("pyright")
    assert typed.returncode == 0, typed.stdout


# ---- the README


def test_the_readme_holds_the_tree() -> None:
    writer = _load(ROOT / "docs" / "write_readme.py")
    tree = writer.tree()
    for path in SOURCES:
        if path.name != "__init__.py":
            assert re.search(rf"^ +{re.escape(path.name)} +\S", tree, re.MULTILINE), path
    assert writer.replace(README, "tree", f"```\n{tree}\n```") == README, "say `make readme`"


def test_the_readmes_commands_exist() -> None:
    groups = {f"{group} {name}" for group, (_, commands) in root.GROUPS.items() for name in commands}
    for words in re.findall(r"(?:^ {4}|`)heed ((?:data|model) \w+|[a-z]+)", README, re.MULTILINE):
        assert words in groups | {*root.COMMANDS, *root.GROUPS}, f"README says: heed {words}"
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test", "bench"} <= set(re.findall(r"\bmake ([a-z]+)", README)) & targets


def test_the_readme_begins_with_the_two_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:30])
    assert "make demo" in first_screen
    assert "make test" in first_screen


# ---- what gets installed


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    return {_plain(requirement.name): requirement for requirement in map(Requirement, lines)}


def test_every_dependency_is_pinned_to_a_version_the_project_allows() -> None:
    project = PROJECT["project"]
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        wanted = Requirement(line)
        pin = pins()[_plain(wanted.name)]
        (version,) = pin.specifier
        assert version.operator == "=="
        assert version.version in wanted.specifier, line
        assert "+" not in version.version, f"{pin}: a local version exists on no public index"


def test_the_conda_environment_is_the_pinned_one() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert f"python{PROJECT['project']['requires-python']}" in conda
    assert "-r requirements.txt" in pip["pip"]


def test_the_license_is_there() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
