"""The rows of a comparison: what was measured and what it cost, as numbers for files and as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from heedful.training.checkpoints import best_checkpoint
from heedful.training.data import PreparedData
from heedful.training.metrics import read_metrics
from heedful.workflows.compare_measure import Measures
from heedful.workflows.compare_plan import Run
from heedful.workflows.judges import REWARD
from heedful.workflows.measure import Interval

WATCHED = f"eval/{REWARD}"


@dataclass(frozen=True)
class Cost:
    """What a member took, its whole chain together.

    steps, tokens: of all its runs.  seconds: of their steps.  peak_memory_bytes: of the hungriest.
    """

    steps: int
    tokens: int
    seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class Row:
    """One line of the table.

    measured_step: after how many steps of its last run the model was taken that is measured; num_steps: of how many.
    metrics: the last value of each training metric, and the evaluation's at the measured step.
    validation: the reward at the start, at the measured step, at the end.
    used: how much of the data its last run could use.  cost, used and the steps are None for what was not trained here.
    """

    measures: Measures
    run: Run | None
    measured_step: int | None
    num_steps: int | None
    metrics: dict[str, float]
    validation: list[float]
    cost: Cost | None
    used: dict[str, int] | None

    @staticmethod
    def of(measures: Measures, run: Run | None, data: PreparedData | None) -> Row:
        """The row of a member, or of the base model or the data where there is no run."""
        if run is None or data is None:
            return Row(measures, None, None, None, {}, [], None, None)
        metrics = read_metrics(run.path / "metrics.jsonl")
        num_steps = metrics[-1]["step"]
        best = best_checkpoint(run.path)
        step = num_steps if best is None else int(best.name.removeprefix("step-"))
        found = {row["step"]: row[WATCHED] for row in metrics if row.get(WATCHED) is not None}
        validation = [found[at] for at in (0, step, num_steps) if at in found]
        return Row(measures, run, step, num_steps, metrics_at(metrics, step), validation, cost_of(run), used_of(data))

    @property
    def name(self) -> str:
        """The member's name."""
        return self.measures.name

    @property
    def reward(self) -> float:
        """The mean reward."""
        return self.measures.rewards[REWARD].value

    def to_json(self) -> dict[str, Any]:
        """Everything, unrounded."""
        settings = None if self.run is None else self.run.config.model_dump(mode="json")
        cost = None if self.cost is None else asdict(self.cost)
        steps = {"measured_step": self.measured_step, "num_steps": self.num_steps}
        return {**asdict(self.measures), **steps, "cost": cost, "used": self.used, "metrics": self.metrics} | (
            {} if settings is None else {"settings": settings}
        )

    def flat(self) -> dict[str, Any]:
        """One line of the CSV."""
        m = self.measures
        line: dict[str, Any] = {"name": m.name}
        for kind, intervals in (("", m.rewards), ("gain/", m.gains)):
            for judge, interval in intervals.items():
                line |= _spread(f"{kind}{_reward_name(judge)}", interval)
        for judge, wins in m.wins.items():
            for other, interval in wins.items():
                line |= _spread(f"win/{other}" if judge == REWARD else f"win/{other}/{judge}", interval)
        line |= _spread("kl_per_token", m.kl_per_token) | _spread("kl", m.kl)
        line |= {"answer_tokens": m.tokens, "empty": m.empty, "unfinished": m.unfinished, "failed": m.failed}
        line |= {f"distinct_{n}": value for n, value in m.distinct.items()}
        line |= {"measured_step": self.measured_step, "num_steps": self.num_steps}
        line |= {} if self.cost is None else asdict(self.cost)
        return line | (self.used or {}) | self.metrics


def _reward_name(judge: str) -> str:
    return REWARD if judge == REWARD else f"{REWARD}/{judge}"


def _spread(name: str, interval: Interval | None) -> dict[str, float]:
    if interval is None:
        return {}
    return {name: interval.value, f"{name}/low": interval.low, f"{name}/high": interval.high}


def metrics_at(metrics: Sequence[dict[str, Any]], step: int) -> dict[str, float]:
    """The last value of every training metric, and the evaluation's after `step`."""
    trained: dict[str, float] = {}
    evaluated: dict[str, float] = {}
    for row in metrics:
        trained |= {k: v for k, v in row.items() if (k == "loss" or k.startswith("train/")) and v is not None}
        if row["step"] == step:
            evaluated |= {k: v for k, v in row.items() if k.startswith("eval/") and v is not None}
    return trained | evaluated


def cost_of(run: Run) -> Cost:
    """What the run and those it starts from took."""
    rows = [row for row in read_metrics(run.path / "metrics.jsonl") if "time_s" in row]
    own = Cost(
        len(rows),
        max((row["tokens"] for row in rows), default=0),
        sum(row["time_s"] for row in rows),
        max((row["peak_memory_bytes"] for row in rows), default=0),
    )
    if run.parent is None:
        return own
    before = cost_of(run.parent)
    return Cost(
        own.steps + before.steps,
        own.tokens + before.tokens,
        own.seconds + before.seconds,
        max(own.peak_memory_bytes, before.peak_memory_bytes),
    )


def used_of(data: PreparedData) -> dict[str, int]:
    """How much of the data a run could use."""
    report = data.train_report
    return {
        "examples_used": report.num_trained,
        "examples_dropped": report.num_dropped,
        "responses_used": report.num_responses,
        "trained_tokens_of_data": report.tokens["trained"],
    }
