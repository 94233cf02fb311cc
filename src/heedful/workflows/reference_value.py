"""What prompts are worth under the reference policy (A-LoL): sample its answers, score them, learn value from prompt.

    V(x) = E_{y ~ π_ref(.|x)} R(x, y)

Estimated by heads on the frozen reference's hidden states, cross-fitted: no prompt is valued by a head that has seen
it.  Everything is computed once, and kept by what it was computed from.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from heedful.config import TrainConfig
from heedful.examples.io import check_writable, replacing, row_of, write_rows
from heedful.models import Loaded, load_policy
from heedful.models.prompt_value import hidden_states
from heedful.progress import counting
from heedful.training.advantages import advantage_lines, advantages
from heedful.training.context import cache_folder, check_models
from heedful.training.data import read_labelled
from heedful.training.labels import Values, ValueTask, refuse_idle, value_key
from heedful.training.shaping import load_template
from heedful.training.train import resolve_objective
from heedful.training.world import choose_device
from heedful.types import Echo, Example
from heedful.workflows.reference_value_fit import BATCH, CrossFit, cross_fit, judged, judged_lines
from heedful.workflows.reference_value_plan import Plan, make_plan
from heedful.workflows.reference_value_targets import Targets, logged, rewards_of, sampled, states_of, that_fit


def find_values(task: ValueTask, *, dry_run: bool = False) -> Values:
    """The value of every prompt of the task, from the cache where it was found before; NaN for one that is too long.

    dry_run: sample and fit nothing; unless the values are known, say what would be done, and let every prompt be worth
    less than any response.
    Raises UserError for rewards that are not there, and for too few prompts.
    """
    plan = make_plan(task)
    kept = task.cache_dir / "values" / f"{plan.key}.json"
    if kept.is_file():
        task.echo("values: taken from the cache")
        content = json.loads(kept.read_text(encoding="utf-8"))
    elif dry_run:
        task.echo(f"would first estimate what prompts are worth: {plan}; until then no response is left over")
        least = min(reward for example in task.train for reward in rewards_of(example))
        return Values(dict.fromkeys(plan.prompts, least - 1.0), known=False)
    else:
        content = estimate(plan)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as aside:
            aside.write_text(json.dumps(content), encoding="utf-8")
    for name, part in content["report"].items():
        if isinstance(part, dict):
            for line in judged_lines(name, part):
                task.echo(line)
    return Values(dict(zip(plan.prompts, content["values"], strict=True)), content["report"])


def estimate(plan: Plan) -> dict[str, Any]:
    """`values`, one for each prompt of the plan, and `report`: how well they foretell rewards."""
    config = plan.task.config
    loaded = load_policy(
        plan.model,
        adapter=None if config.reference else config.adapter,
        device=choose_device(config.device),
        trust_remote_code=config.trust_remote_code,
    )
    targets: Targets = logged(plan) if config.value == "data" else sampled(plan, loaded)
    learnt = plan.learnt[: that_fit([len(plan.ids[key]) for key in plan.learnt], loaded)]
    worth = np.array([targets.worth[key] for key in learnt])
    span = [float(worth.min()), float(worth.max())]
    report = {"source": config.value, "prompts": len(learnt), "range": plan.fit.range or span, **targets.report}
    if span[0] == span[1]:
        plan.task.echo(f"values: every prompt is worth {worth[0]:g}")
        return {"values": [span[0]] * len(plan.prompts), "report": report}
    fitted = cross_fit(
        states_of(loaded, [plan.ids[key] for key in learnt]), worth, np.arange(len(learnt)), plan.fit, config.seed
    )
    report |= {targets.name: judged(fitted.held_out, worth), "epochs": fitted.epochs}
    return {"values": _valued(plan, loaded, fitted, learnt), "report": report}


def _valued(plan: Plan, loaded: Loaded, fitted: CrossFit, learnt: Sequence[Hashable]) -> list[float]:
    """Every prompt by heads that have not seen it."""
    values: dict[Hashable, float] = dict.fromkeys(plan.prompts, float("nan"))
    values |= dict(zip(learnt, fitted.held_out.tolist(), strict=True))
    seen = set(learnt)
    others = [key for key in plan.ids if key not in seen]
    count = counting("prompts valued", plan.task.echo)
    found = hidden_states(loaded.model, [plan.ids[key] for key in others])
    done = 0
    while batch := list(islice(found, BATCH)):
        worth = fitted([states for _, states in batch]).tolist()
        values |= {others[i]: value for (i, _), value in zip(batch, worth, strict=True)}
        done += len(batch)
        count(done, len(others))
    return list(values.values())


def value(config: TrainConfig, out: Path, echo: Echo = print) -> Path:
    """Write what every prompt of the data is worth to `out` (rows {prompt, value}), and the report beside it.

    config: the settings of a run that reads values; its `value` says how they are estimated.
    Says the percentiles of value, reward and advantage, and the share of responses that are left over.
    Raises UserError where that run would be refused.
    """
    check_writable(out)
    objective = resolve_objective(config)
    refuse_idle(config, objective)
    check_models(config)
    template, cache_dir = load_template(config, objective), cache_folder(config.cache_dir)
    labelled, _ = read_labelled(config, template, cache_dir, echo, find_values)
    prompts = {value_key(example): example for example in (*labelled.train, *labelled.held_out)}
    rows = [{"prompt": row_of(Example(e.prompt, []))["prompt"], "value": _worth(e)} for e in prompts.values()]
    write_rows((row for row in rows if np.isfinite(row["value"])), out)
    pairs = [(reward, _worth(e)) for e in labelled.train for reward in rewards_of(e)]
    found = np.array([pair for pair in pairs if np.isfinite(pair[1])])
    summary = advantages(found[:, 0], found[:, 1])
    for line in advantage_lines(summary):
        echo(line)
    report = out.with_name(f"{out.name.removesuffix('.gz').removesuffix('.jsonl')}.report.json")
    report.write_text(json.dumps({**labelled.report, "advantages": summary}, indent=1), encoding="utf-8")
    return out


def _worth(example: Example) -> float:
    return example.responses[0].extra["value"]
