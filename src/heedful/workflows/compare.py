"""`heed compare`: objectives trained from the same model on the same data, and what came of each.  Reads top to bottom.

Every stage is public functions.  A comparison is a folder; the same command continues it, and more objectives may join.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from heedful.config import dump_yaml
from heedful.examples import read_jsonl, write_jsonl
from heedful.models.folders import digest_of, resolve
from heedful.training import resolve_objective, train
from heedful.training.checkpoints import best_checkpoint
from heedful.training.data import PreparedData
from heedful.training.run_folder import FINAL
from heedful.training.shaping import load_template
from heedful.training.world import choose_device
from heedful.types import Echo, Example
from heedful.workflows.compare_documents import compare_documents, on_documents
from heedful.workflows.compare_measure import BASE, DATA, Answers, measure
from heedful.workflows.compare_plan import Plan, Run, folder_name, make_plan
from heedful.workflows.compare_prompts import HeldOut, hold_out, make_validate, prompt_limit
from heedful.workflows.compare_settings import read_request
from heedful.workflows.compare_start import begin, describe, prepare_all, refuse_unfit
from heedful.workflows.compare_table import Row
from heedful.workflows.judges import Panel, make_panel
from heedful.workflows.reference_value import find_values
from heedful.workflows.sampling import sample_examples
from heedful.workflows.stages import Stages


def compare(
    objectives: Sequence[str],
    words: Sequence[str],
    files: Sequence[Path] = (),
    *,
    dry_run: bool = False,
    echo: Echo = print,
) -> Path:
    """Do the whole comparison, or continue it, and return the path of its report.

    objectives: objectives, recipes, file.py:function, and chains of them.  words: `key=value`.  files: YAML.
    dry_run: only say what would run, on what, for how long.  echo: where progress lines go.

    Raises UserError for a mistake in any of them before anything is trained; RunError if a run fails; Interrupted after
    SIGTERM or SIGINT, once everything is saved.
    """
    asked = read_request(objectives, words, files)
    if on_documents(asked):
        return compare_documents(asked, dry_run=dry_run, echo=echo)
    plan = make_plan(asked)
    refuse_unfit(plan, trains=not dry_run)
    panel = make_panel(plan.config.judges, str(choose_device(plan.first.device)))
    held_out = hold_out(plan.first, plan.config, load_template(plan.first, resolve_objective(plan.first)))
    if held_out.num_too_long:
        echo(f"{held_out.num_too_long:,} held-out prompts are left out: they leave no room for an answer")
    data = prepare_all(plan, dry_run=dry_run, echo=echo)
    if dry_run:
        describe(plan, held_out, data, echo)
        return plan.out / "report.html"
    begin(plan, held_out)
    return Comparison(plan, panel.with_floors([*held_out.test, *held_out.validation]), held_out, data, echo).run()


@dataclass
class Comparison:
    """One comparison at work.

    panel: with floors.  data: what every run trains on, by its name.
    """

    plan: Plan
    panel: Panel
    held_out: HeldOut
    data: dict[str, PreparedData]
    echo: Echo
    stages: Stages = field(init=False)

    def __post_init__(self) -> None:
        self.stages = Stages(self.plan.out, self.echo)

    def run(self) -> Path:
        """Train, answer, judge, measure, report."""
        (self.plan.out / "comparison.yaml").write_text(dump_yaml(self.plan.config), encoding="utf-8")
        validate = make_validate(self.held_out, self.panel, self.plan.first, self.plan.config)
        for number, run in enumerate(self.plan.runs, start=1):
            self.echo(f"{run.name} ({number} of {len(self.plan.runs)})")
            say = self.indented if number == 1 else self.without_data
            train(run.config, validate=validate, echo=say, find_values=find_values)
        return self.report(self.answers())

    def indented(self, line: str) -> None:
        """A line of a stage's own."""
        self.echo(f"  {line}")

    def without_data(self, line: str) -> None:
        """A line of a later run, unless it says of the data what the first run said."""
        if not line.startswith(("train data:", "eval data:")):
            self.indented(line)

    def answers(self) -> list[Answers]:
        """The answers of the base model and of every member, with the data's own as far as they are judged."""
        folders = {BASE: Path(resolve(self.plan.first.model))}
        folders |= {run.name: measured_folder(run) for run in self.plan.members}
        found = [self.judged(name, self.sampled(name, folder)) for name, folder in folders.items()]
        own, rows = self.held_out.best_answers(self.plan.first.prefer)
        return [*found, self.judged(DATA, own, rows)] if own else found

    def sampled(self, name: str, folder: Path) -> list[Example]:
        """A model's answers to the test prompts, in a file of their own."""
        config, asked, file = (
            self.plan.first,
            self.plan.config,
            self.plan.out / "samples" / f"{folder_name(name)}.jsonl",
        )
        settings = {
            "samples_per_prompt": asked.samples_per_prompt,
            "max_new_tokens": asked.max_new_tokens,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "seed": config.seed,
            "max_prompt_length": prompt_limit(config, asked.max_new_tokens),
        }

        def work() -> None:
            file.parent.mkdir(parents=True, exist_ok=True)
            examples = sample_examples(
                str(folder),
                self.held_out.test,
                logps_of=None if name == BASE else config.model,
                chat_template=config.template if name == BASE else None,
                device=config.device,
                trust_remote_code=config.trust_remote_code,
                echo=self.indented,
                **settings,
            )
            write_jsonl(examples, file)

        prompts = [[[m.role, m.content] for m in example.prompt] for example in self.held_out.test]
        inputs = {"model": digest_of(folder), "base": digest_of(resolve(config.model)), "prompts": prompts, **settings}
        self.stages.run(f"answers of {folder_name(name)}", work, inputs=inputs, outputs=[file])
        return read_jsonl(file)

    def judged(self, name: str, examples: list[Example], rows: np.ndarray | None = None) -> Answers:
        """The answers with what the judges say.  rows: which of the test prompts; all without."""
        rewards = self.panel.rewards(examples) if self.panel.judges else {}
        return Answers(name, examples, rewards, np.arange(len(examples)) if rows is None else rows)

    def report(self, answers: list[Answers]) -> Path:
        """Measure, and write table.csv, table.json, table.md and report.html."""
        from heedful.workflows.compare_report import write_all

        asked = self.plan.config
        with_kl = (asked.temperature, asked.top_p) == (1.0, 1.0)
        runs = {run.name: run for run in self.plan.members}
        rows = []
        for mine in answers:
            others = [other for other in answers if other is not mine]
            measures = measure(mine, others, seed=self.plan.first.seed, with_kl=with_kl)
            run = runs.get(mine.name)
            rows.append(Row.of(measures, run, None if run is None else self.data[run.name]))
        path = write_all(self.plan, rows, answers, len(self.held_out.validation), self.echo)
        self.echo(
            f"Wrote {self.plan.out}: report.html (open it in any browser), table.csv, table.json, table.md, runs."
        )
        trained = [row for row in rows if row.run is not None]
        best = max(trained, key=lambda row: row.reward).run if self.panel.judges else trained[0].run
        assert best is not None
        self.echo(f"Next: heed sample {measured_folder(best)} PROMPTS   heed compare --from {self.plan.out}/runs/*")
        return path


def measured_folder(run: Run) -> Path:
    """The model of a run that is measured: the best by what keep_best watches, else the final one."""
    return best_checkpoint(run.path) or run.path / FINAL
