"""`heed evaluate`: the scenarios of a recipe's `watch`, and the distance to a reference, on any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from heedful.config import EvaluateConfig, WatchConfig, build, join, merge
from heedful.examples.io import unwritable, write_rows
from heedful.models import load_policy
from heedful.models.folders import resolve, weight_files
from heedful.reports import blocks
from heedful.reports.page import Section, write_report
from heedful.reports.watched import WATCHED_FILE, watched
from heedful.tokens.templates import Template
from heedful.training.context import cache_folder
from heedful.types import Echo, UserError
from heedful.workflows.tables import write_json
from heedful.workflows.watching import RunWatch


def evaluate(
    model: str,
    asked: WatchConfig,
    out: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    cache_dir: str | None = None,
    dry_run: bool = False,
    echo: Echo = print,
) -> Path:
    """Sample from `model` as the scenarios say, measure, and write evaluation.json, watched.jsonl and report.html.

    model: hub name, folder, run folder or checkpoint; folders of PHF's published models too (a value head beside, two
    control tokens, `.bin` weights that hold nothing but tensors).
    Raises UserError for a model, scorer, prompt file or reference that is not there, and an `out` that holds a run.
    """
    path = resolve(model)
    weight_files(path)
    if out.is_file() or (out / "metrics.jsonl").exists():
        raise UserError(f"out={out} holds something else; name a new folder.")
    if (there := unwritable(out / "evaluation.json")) is not None:
        raise UserError(f"out={out} cannot be written, because of {there}; name another folder.")
    watch = RunWatch(asked, cache_folder(cache_dir), seed, device, echo)
    if dry_run:
        for scenario in asked.scenarios:
            echo(f"would sample {scenario.num_samples:,} texts of {scenario.max_new_tokens} tokens for {scenario.name}")
        if asked.kl is not None and asked.kl.reference is not None:
            echo(f"would measure the distance to {asked.kl.reference} on {asked.kl.num_samples:,} samples of it")
        echo(f"with {path}, into {out}; nothing was written there")
        return out
    loaded = load_policy(model, device=watch.device)
    found = watch(0, loaded.model, Template.load(loaded.tokenizer, None), [])
    out.mkdir(parents=True, exist_ok=True)
    write_rows(({"step": 0, **row} for row in found.rows), out / WATCHED_FILE)
    content = {"model": path, "seed": seed, "watch": asked.model_dump(mode="json"), "metrics": found.metrics}
    write_json(out / "evaluation.json", content)
    page = out / "report.html"
    samples = watched(out, page, "evaluation") or blocks.note("None.")
    write_report(page, f"{model}", [Section("Numbers", table(found.metrics)), Section("Samples", samples)])
    for name, value in found.metrics.items():
        echo(f"{name:<48} {value:.5g}")
    return out


def read_request(files: Sequence[Path], words: Sequence[str]) -> EvaluateConfig:
    """What recipes and files say of watching (their other settings are of training), and key=value words."""
    tree = merge(files)
    for name in set(tree.values) - set(EvaluateConfig.model_fields):
        del tree.values[name]
    return build(EvaluateConfig, join([tree, merge((), words)]))


def table(metrics: Mapping[str, float]) -> str:
    """The metrics as rows."""
    return blocks.table(["", "value"], [[name, f"{value:.5g}"] for name, value in metrics.items()])
