"""The loop.  It receives functions and is not subclassed: packs, an objective's step, trainees, a way to save."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from heedful.config import TrainConfig
from heedful.progress import Progress
from heedful.tokens.sampler import Sampler
from heedful.training.batches import DataSource, StepBatch, step_batches
from heedful.training.checkpoints import (
    TrainerState,
    last_checkpoint_sentence,
    latest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from heedful.training.live_reference import LiveReference
from heedful.training.metrics import MetricsFile, peak_memory_bytes
from heedful.training.samples import SampleTable
from heedful.training.step import StepResult, StepRunner
from heedful.training.trackers import Tracker
from heedful.training.trainee import Trainee
from heedful.training.watching import Watching, due
from heedful.training.world import World
from heedful.types import Interrupted, RunError

BAD_STEPS_FILE = "bad_steps.jsonl"
"""Steps that were skipped because they were not finite, and which rows they had."""


@dataclass
class Loop:
    """Everything one run holds while it goes on.

    reference: the one that runs beside the policy, if there is one.
    source, evaluation: training and evaluation data; trainer: what is restored on resume; running: the objective's
    state; metrics, tracker, samples: what the main process writes and shows; validate: metrics of the model's own
    answers, measured by the main process at every evaluation; collect_model: gathers the model, on every rank, and
    gives the function that writes its folder.
    watching: looks at the model between steps, on the main process; the others wait for it at the next step.
    expected_loss: of a language model of this size after so many tokens of documents; None for other data.
    eval_every: steps between evaluations, which need not be whole.
    """

    config: TrainConfig
    world: World
    run: Path
    runner: StepRunner
    trainees: dict[str, Trainee]
    reference: LiveReference | None
    source: DataSource
    sampler: Sampler
    evaluation: DataSource | None
    tokens_per_pack: int
    trainer: TrainerState
    running: dict[str, Tensor]
    metrics: MetricsFile | None
    tracker: Tracker | None
    samples: SampleTable | None
    validate: Callable[[], Mapping[str, float]] | None
    watching: Watching | None
    expected_loss: Callable[[int], float] | None
    collect_model: Callable[[], Callable[[Path], None]]
    progress: Progress
    saved_step: int = field(init=False)
    eval_every: float = field(init=False)

    def __post_init__(self) -> None:
        self.saved_step = self.trainer.step
        every = self.config.eval_every or 0
        steps_per_epoch = self.sampler.units_per_epoch / self.sampler.batch_size
        self.eval_every = round(every * steps_per_epoch, 6) if every < 1 else every

    def __call__(self) -> None:
        """Train from `trainer.step` to the end.

        Raises Interrupted after a signal (the step was finished and saved), RunError after too many steps in a row
        that were not finite, or if none was.
        """
        begins = self.trainer.step == 0 and latest_checkpoint(self.run) is None
        if begins:
            self.look()
        if begins and self.evaluation is not None and self.eval_every and self._is_best(self.evaluate()):
            self.checkpoint()
        with interruption() as stopped:
            steps = step_batches(
                self.source, self.sampler, self.tokens_per_pack, self.world.rank, self.world.size, self.trainer.step
            )
            for step in steps:
                self.one_step(step)
                self.evaluate_and_save()
                if self.world.any(stopped() is not None):
                    self._leave(steps, stopped() or signal.SIGTERM)
        if self.trainer.num_bad == self.trainer.step > 0:
            raise RunError(self._not_finite("every step of the run had"))

    def one_step(self, step: StepBatch) -> None:
        """Gradients, clipping, the optimizers' step, one line of metrics."""
        began = time.perf_counter()
        number = self.trainer.step
        for trainee in self.trainees.values():
            trainee.optimizer.zero_grad(set_to_none=True)
        seed = self.config.seed
        self.runner.seed_forward = lambda pack: _seed_forward(seed, number, self.world.rank, pack)
        result = self.runner(step, self.running)
        row: dict[str, Any] = {"step": number + 1, "loss": result.loss}
        norms = {name: trainee.gradient_norm() for name, trainee in self.trainees.items()}
        if self._finite(result, norms):
            if self.reference is not None:
                self.reference.sync(number + 1)
            for name, trainee in self.trainees.items():
                row[_named("lr", name)] = trainee.set_lr(number)
                trainee.clip_gradient(norms[name])
                trainee.optimizer.step()
            self.running = result.state or self.running
            self.trainer.num_bad = 0
        else:
            self._skip(step, result, norms)
            row["skipped"] = True
        self.trainer.step += 1
        self.trainer.tokens += step.num_tokens
        row |= {_named("grad_norm", name): norm for name, norm in norms.items()}
        self._report(row, step, result, time.perf_counter() - began)
        if self.trainer.num_bad >= self.config.num_bad_steps:
            raise RunError(self._not_finite(f"{self.trainer.num_bad} steps in a row had"))

    def _not_finite(self, which: str) -> str:
        return (
            f"{which} a loss or gradient that is not finite (the last is step {self.trainer.step}; their rows are in "
            f"{self.run / BAD_STEPS_FILE}): try a smaller lr, or look at those rows.  "
            f"{last_checkpoint_sentence(self.run)}"
        )

    def _finite(self, result: StepResult, norms: dict[str, float]) -> bool:
        """The same answer on every rank: a rank's own gradient norm may differ from the others' only by a fault."""
        fine = math.isfinite(result.loss) and all(map(math.isfinite, norms.values()))
        return not self.world.any(not fine)

    def _skip(self, step: StepBatch, result: StepResult, norms: dict[str, float]) -> None:
        """Leave the weights alone and write which rows the step had."""
        self.trainer.num_bad += 1
        if self.world.is_main:
            origins = [self.source.store.origin(int(row)) for row in step.rows]
            with MetricsFile.appending(self.run / BAD_STEPS_FILE) as file:
                shown = {_named("grad_norm", name): norm for name, norm in norms.items()}
                file.write({"step": self.trainer.step + 1, "loss": result.loss, **shown, "rows": origins})

    def _report(self, row: dict[str, Any], step: StepBatch, result: StepResult, time_s: float) -> None:
        if self.metrics is None:
            return
        if len(result.terms) > 1:
            row |= {f"train/loss/{name}": value for name, value in result.terms.items()}
        row |= {f"train/{name}": value for name, value in result.metrics.items()}
        row |= {
            "epoch": self.sampler.epoch(self.trainer.step),
            "tokens": self.trainer.tokens,
            **self._of_documents(),
            "step_tokens": step.num_tokens,
            "trained_tokens": step.num_trained,
            "fill": step.fill,
            "packs": len(step.packs),
            "time_s": time_s,
            "tokens_per_s": step.num_tokens / time_s,
            "peak_memory_bytes": peak_memory_bytes(self.world.device),
        }
        self._write(row)
        self.progress.step(self.trainer.step, row)

    def _of_documents(self) -> dict[str, float]:
        """Tokens that the model saw, in this run and the one it comes from, and what loss they lead to expect."""
        if self.expected_loss is None:
            return {}
        seen = self.config.skip_tokens + self.trainer.tokens
        return {"tokens_seen": seen, "expected_loss": self.expected_loss(seen)}

    def look(self) -> None:
        """Samples, segments and distances now, if anybody watches."""
        if self.watching is None:
            return
        step = self.trainer.step
        found = self.watching(step, self.sampler.batch(max(step - 1, 0)), self.tracker)
        self._write({"step": step, "tokens": self.trainer.tokens, **found})
        told = ("score", "hits", "sequence")
        self.progress.evaluated(step, {name: found[name] for name in found if name.rpartition("/")[2] in told})

    def _write(self, row: dict[str, Any]) -> None:
        if self.metrics is not None:
            self.metrics.write(row)
            if self.tracker is not None:
                self.tracker.log(row)

    def evaluate(self) -> dict[str, float]:
        """The objective and its metrics over the whole evaluation set, without gradient."""
        assert self.evaluation is not None
        whole = self.evaluation.whole(self.tokens_per_pack, self.world.rank, self.world.size)
        result = self.runner(whole, self.running, train=False)
        values = {"eval/loss": result.loss} | {f"eval/{name}": value for name, value in result.metrics.items()}
        if self.validate is not None:
            found = self.world.broadcast(dict(self.validate()) if self.world.is_main else None)
            values |= {f"eval/{name}": value for name, value in found.items()}
        self._write({"step": self.trainer.step, **values})
        if self.metrics is not None:
            self.progress.evaluated(self.trainer.step, values)
        if self.samples is not None:
            self.samples(self.trainer.step, self.tracker)
        return values

    def evaluate_and_save(self) -> None:
        """Whatever is due after a step; the evaluation first, so that a saved step has all its lines of metrics."""
        if self.watching is not None and due(self.watching.every, self.trainer.step, self.sampler.num_steps):
            self.look()
        values = self.evaluate() if self.evaluation is not None and self._due(self.eval_every) else {}
        if self._is_best(values) or (self.config.checkpoint_every and self._due(self.config.checkpoint_every)):
            self.checkpoint()

    def _due(self, every: float) -> bool:
        """At the first step after each multiple of `every` (0: never before the end), and after the last."""
        step = self.trainer.step
        return step == self.sampler.num_steps or (every > 0 and step // every > (step - 1) // every)

    def _is_best(self, values: dict[str, float]) -> bool:
        """Whether these are the best so far of the watched metric; if so they are noted."""
        better = self._better(values)
        if better:
            self.trainer.best, self.trainer.best_step = values[self._watched()[1]], self.trainer.step
        return better

    def _watched(self) -> tuple[str, str]:
        assert self.config.keep_best is not None
        direction, _, name = self.config.keep_best.partition(":")
        return direction, name

    def _better(self, values: dict[str, float]) -> bool:
        if self.config.keep_best is None or not values:
            return False
        direction, name = self._watched()
        if name not in values:
            raise RunError(f"keep_best watches {name}, which evaluation does not give; it gives {', '.join(values)}.")
        value, best = values[name], self.trainer.best
        return math.isfinite(value) and (best is None or (value < best if direction == "min" else value > best))

    def checkpoint(self) -> None:
        """Save `checkpoints/step-N`, unless it was saved already."""
        if self.saved_step == self.trainer.step and latest_checkpoint(self.run) is not None:
            return
        optimizers = {name: trainee.optimizer_state() for name, trainee in self.trainees.items()}
        reference = None if self.reference is None else self.reference.state()
        write_model = self.collect_model()
        problem = None
        if self.world.is_main:
            try:
                save_checkpoint(self.run, self.trainer, optimizers, self.running, write_model, reference)
                prune_checkpoints(self.run, self.config.keep, self.trainer.best_step)
            except RunError as error:
                problem = str(error)
        if problem := self.world.broadcast(problem):
            raise RunError(problem)
        self.saved_step = self.trainer.step

    def _leave(self, steps: Iterator[StepBatch], signum: int) -> None:
        steps.close()  # type: ignore[attr-defined]
        self.checkpoint()
        raise Interrupted(
            f"stopped after step {self.trainer.step}; saved {latest_checkpoint(self.run)}; the same command continues",
            signum,
        )

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Finish the files and the tracker, which is told whether the run failed."""
        for file in (self.metrics, self.samples, self.watching):
            if file is not None:
                file.close()
        if self.tracker is not None:
            self.tracker.close(failed=kind is not None and not issubclass(kind, Interrupted))


def _named(metric: str, trainee: str) -> str:
    """`lr` for the policy, `lr/NAME` for any other trainee."""
    return metric if trainee == "policy" else f"{metric}/{trainee}"


def _seed_forward(seed: int, step: int, rank: int, pack: int) -> None:
    """Make whatever draws random numbers a function of (seed, step, rank, pack): nothing to store for a resume."""
    torch.manual_seed(hash((seed, step, rank, pack)) & (2**63 - 1))


@contextmanager
def interruption() -> Iterator[Callable[[], int | None]]:
    """Note SIGTERM and SIGINT instead of dying of them, until the step is done and saved.

    Outside the main thread Python lets nobody handle signals; there the loop runs without.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    seen: list[int] = []

    def note(signum: int, _frame: object) -> None:
        seen.append(signum)
        signal.signal(signum, before[signum])  # a second one acts at once

    before: dict[int, Any] = {signum: signal.signal(signum, note) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: seen[0] if seen else None
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
