"""`heed compare` of objectives on documents: each trained with several seeds, watched, and measured.  Top to bottom.

What is compared is what was watched after the last step (see `watch`), the distance from the maximum-likelihood model
of the same seed, and how well each model foretells documents that nothing was trained on.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from heedful.config import KLConfig, TrainConfig, build_train, dump_yaml, join
from heedful.config.tree import Tree
from heedful.config.values import Plain
from heedful.evaluation.kl import Sample, divergence, log_likelihoods, reference_samples
from heedful.examples.io import replacing
from heedful.models import load_policy
from heedful.objectives import bind, get, plain
from heedful.scorers import SCORERS
from heedful.tokens.templates import Template
from heedful.training import resolve_objective, train
from heedful.training.context import cache_folder
from heedful.training.documents import Survey
from heedful.training.metrics import read_metrics
from heedful.training.run_folder import FINAL
from heedful.training.shaping import learns_from_documents, span_controls
from heedful.training.watching import WATCHED_FILE
from heedful.training.world import choose_device
from heedful.types import Echo, Example, RunError, UserError
from heedful.workflows.compare_settings import Asked
from heedful.workflows.watching import make_watch

RUNS, MEASURED = "runs", "measured.json"
HELD_OUT = 256
"""Held-out documents whose likelihood is measured."""
MOST_CHARACTERS = 2000
"""Of each of them."""

KL_SAMPLES, KL_TOKENS = 256, 128


@dataclass
class SeedRun:
    """One objective with one seed.  label: the objective's, or its recipe's; measures: what came of it, by name."""

    label: str
    seed: int
    config: TrainConfig
    measures: dict[str, float] = field(default_factory=dict)


def on_documents(asked: Asked) -> bool:
    """Whether what is compared learns from documents.  Raises UserError for a mixture of both."""
    kinds = {step.label: _is_on_documents(step.objective) for chain in asked.chains for step in chain}
    if len(set(kinds.values())) > 1:
        one, other = (next(name for name, kind in kinds.items() if kind is wanted) for wanted in (True, False))
        raise UserError(f"{one} learns from documents and {other} from prompts with responses; compare them apart.")
    return all(kinds.values())


def _is_on_documents(name: str) -> bool:
    try:
        return learns_from_documents(bind(name, plain(name).settings))
    except ValueError:  # a function that cannot be tried as it is; what is wrong is said when it is trained
        return False


def compare_documents(asked: Asked, *, dry_run: bool = False, echo: Echo = print) -> Path:
    """Train every objective with every seed, measure, and write table.md, table.json and report.html; continue a
    comparison that was begun.

    Raises UserError for a chain, a missing `watch`, held-out documents that are missing, and whatever `train` refuses.
    """
    out = Path(asked.config.out)
    if any(len(chain) > 1 for chain in asked.chains):
        raise UserError("objectives on documents are compared from one model; chains are for answers to prompts.")
    plan = [_planned(asked, chain[0], seed, out) for seed in asked.config.seeds for chain in asked.chains]
    for config in [one.config for one in plan]:
        if config.watch is None or not config.watch.scenarios:
            raise UserError(f"{config.objective.name}: nothing is measured; give watch.scorer and watch.scenarios")
        if config.eval_fraction is None and config.eval_data is None:
            raise UserError("hold documents out to measure on: give eval_fraction=0.05 or eval_data=DATA")
    if dry_run:
        for one in plan:
            echo(f"would train {one.label} with seed {one.seed} into {one.config.out}")
        return out / "report.html"
    for number, one in enumerate(plan, start=1):
        echo(f"{one.label}, seed {one.seed} ({number} of {len(plan)})")
        train(one.config, echo=_without_data(echo), watch=make_watch(one.config))
    for one in plan:
        one.measures = measured(one.config, _reference_of(plan, one.seed), echo)
    from heedful.workflows.compare_documents_report import write_all

    (out / "comparison.yaml").write_text(dump_yaml(asked.config), encoding="utf-8")
    return write_all(out, plan, echo)


def _without_data(echo: Echo) -> Echo:
    """All but what is said of the data, which is the same for every run."""
    return lambda line: echo(f"  {line}") if "data:" not in line else None


def _planned(asked: Asked, step: Any, seed: int, out: Path) -> SeedRun:
    label = step.label.rpartition("/")[2]
    fixed = Tree({"out": str(out / RUNS / f"{label}-seed{seed}"), "seed": Plain(str(seed))})
    trees = [step.recipe, asked.shared, step.own, fixed]
    try:
        return SeedRun(label, seed, build_train(join(copy.deepcopy(trees)), find=get))
    except UserError as error:
        raise UserError(f"{step.label}: {error}") from None


def _reference_of(plan: Sequence[SeedRun], seed: int) -> TrainConfig | None:
    """The maximum-likelihood run of a seed, if it is among them."""
    return next((one.config for one in plan if one.seed == seed and one.config.objective.name == "mle"), None)


def measured(config: TrainConfig, reference: TrainConfig | None, echo: Echo) -> dict[str, float]:
    """What came of a run: the last look, the share of samples that parse, likelihood of held-out text, KL; kept."""
    run = Path(config.out)
    file = run / MEASURED
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    echo(f"measuring {run.name}")
    found = last_look(run)
    if config.watch is not None and config.watch.scorer == "pep8":
        found |= _parse_shares(run)
    loaded = load_policy(str(run / FINAL), device=choose_device(config.device))
    template = Template.load(loaded.tokenizer, None)
    controls = span_controls(resolve_objective(config), config.seed)
    prefix = "" if controls is None else controls.aligned
    held_out = _held_out(config)
    characters = sum(len(one.text) for one in held_out)
    logps = log_likelihoods(loaded.model, template, held_out, prefix, bool(prefix))
    found["held_out/nats_per_character"] = -sum(logps) / characters
    if reference is not None and reference is not config:
        known = {"reference": str(Path(reference.out) / FINAL), "num_samples": KL_SAMPLES, "max_new_tokens": KL_TOKENS}
        asked = KLConfig.model_validate(known)
        samples = reference_samples(
            asked, cache_folder(config.cache_dir), seed=config.seed, device=choose_device(config.device)
        )
        found["kl/from_mle_per_token"] = divergence(loaded.model, template, samples, prefix, bool(prefix)).token
    with replacing(file) as aside:
        aside.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def last_look(run: Path) -> dict[str, float]:
    """The metrics that were watched after the last step, and how fast the run was."""
    rows = read_metrics(run / "metrics.jsonl")
    looks = [row for row in rows if any(name.startswith("generation/") for name in row)]
    if not looks:
        raise RunError(f"{run}/metrics.jsonl holds no look at the model; delete {run} and it is trained again.")
    found = {name: value for name, value in looks[-1].items() if "/" in name and value is not None}
    speeds = [row["tokens_per_s"] for row in rows if row.get("tokens_per_s")]
    return {**found, "tokens_per_s": float(np.median(speeds))}


def _parse_shares(run: Path) -> dict[str, float]:
    """Of each scenario, the share of samples that are Python which parses, prompt included."""
    rows = [json.loads(line) for line in (run / WATCHED_FILE).read_text(encoding="utf-8").splitlines()]
    last = max(row["step"] for row in rows)
    shares = {}
    for name in dict.fromkeys(row["name"] for row in rows if row["kind"] == "sample"):
        mine = [row for row in rows if row["kind"] == "sample" and row["name"] == name and row["step"] == last]
        parses = SCORERS["parses"]([row["prompt"] for row in mine], [row["text"] for row in mine])
        shares[f"generation/{name}/parses"] = float(np.mean(parses))
    return shares


def _held_out(config: TrainConfig) -> list[Sample]:
    """Held-out documents, or their beginnings."""
    texts = []
    for document in Survey.of(config).stream("eval")():
        if isinstance(document, Example):
            texts.append(document.responses[0].text)
        if len(texts) == HELD_OUT:
            break
    return [Sample(text=text[:MOST_CHARACTERS]) for text in texts]
