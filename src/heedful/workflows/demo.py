"""`heed demo`: from nothing to a better model with feedback, on input that every machine has.  Reads top to bottom.

Every stage is public functions, and what it trains is written down in recipes/demo/.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from heedful.types import Echo, Example, RunError, UserError
from heedful.workflows.stages import Stages

METHODS = {"dpo": "pairs", "kto": "pairs", "slic": "pairs", "a_lol": "rewards", "r_gold": "rewards", "pro": "rewards"}
"""How the base model is aligned, and on which form of the same feedback."""
PRETRAINED = ("mle", "conditional")
"""How models are pretrained on the scored corpus, from the same new weights."""
LEAST_PAIRS = 16
"""With fewer there is nothing to hold out for the reward model, and nothing to learn."""


@dataclass(frozen=True)
class Size:
    """How much of everything.

    longest: characters of a function.  vocab_size, hidden_size, layers: of the base model.  base, pretraining: further
    settings of its training, and of pretraining under MLE and conditional training.  feedback_prompts ×
    feedback_samples: bodies sampled for feedback.  test_prompts × test_samples:
    bodies sampled from every model at the end.  max_new_tokens: longest sample.
    """

    longest: int
    vocab_size: int
    hidden_size: int
    layers: int
    base: tuple[str, ...]
    pretraining: tuple[str, ...]
    feedback_prompts: int
    feedback_samples: int
    test_prompts: int
    test_samples: int
    max_new_tokens: int


FULL = Size(400, 2048, 128, 4, (), (), 1000, 8, 300, 4, 192)
QUICK = Size(200, 1024, 96, 3, ("epochs=1.2",), ("epochs=0.3",), 300, 6, 80, 4, 96)


def run(
    *, out: Path = Path("demo"), seed: int = 0, quick: bool = False, dry_run: bool = False, echo: Echo = print
) -> Path:
    """Do the whole demo in the folder `out` (or continue there) and return the path of its report.

    seed: of every stage.  quick: everything smaller, with weaker results.  dry_run: list the stages and stop.

    Raises UserError for a folder that cannot be used, RunError if the base model gives no pairs to learn from.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"out={out} is a file; name a folder.")
    if dry_run:
        for line in _plan(out, quick):
            echo(line)
        return out / "report.html"
    return Demo(out.resolve(), seed, QUICK if quick else FULL, echo).run()


class Demo:
    """One demo: the folder, the seed, the sizes, and the stages in order."""

    def __init__(self, out: Path, seed: int, size: Size, echo: Echo) -> None:
        self.out, self.seed, self.size, self.echo = out, seed, size, echo
        self.stages = Stages(out, echo)
        self.train_file, self.test_file = out / "data" / "functions.jsonl", out / "data" / "held-out.jsonl"
        self.feedback_file = out / "data" / "feedback.jsonl"
        self.documents, self.scored = out / "data" / "documents.jsonl", out / "data" / "scored"
        self.learnt_from = {form: out / "data" / f"{form}.jsonl" for form in ("pairs", "rewards")}

    def run(self) -> Path:
        stage, out, size = self.stages.run, self.out, self.size
        every = {"seed": self.seed, "size": asdict(size)}
        files = [self.train_file, self.test_file]
        stage("corpus", self.collect, inputs={**every, "python": sys.version}, outputs=files)
        stage("new model", self.new_model, after=["corpus"], outputs=[out / "new"])
        stage("scores", self.score_corpus, after=["corpus"], outputs=[self.documents, self.scored])
        for name in PRETRAINED:
            settings = self.settings(name, f"model={out / 'new'}", f"data={self.scored}", *size.pretraining)
            self.train_stage(name, settings, after=["new model", "scores"])
        base = self.settings("base", f"model={out / 'new'}", f"data={self.train_file}", *size.base)
        self.train_stage("base", base, after=["new model"])
        stage("feedback", self.sample_feedback, after=["base"], outputs=[self.feedback_file])
        stage("pairs", self.make_pairs, after=["feedback"], outputs=[self.learnt_from["pairs"]])
        stage("rewards", self.make_rewards, after=["feedback"], outputs=[self.learnt_from["rewards"]])
        for name, form in {"reward": "pairs", **METHODS}.items():
            held_out = ["eval_fraction=0.15"] if name == "reward" else []
            settings = self.settings(name, f"model={out / 'base'}", f"data={self.learnt_from[form]}", *held_out)
            self.train_stage(name, settings, after=["base", form])
        for name in (*PRETRAINED, "base", *METHODS):
            stage(f"samples of {name}", lambda n=name: self.sample_test(n), after=[name], outputs=[self.samples(name)])
        return self.report()

    def collect(self) -> None:
        """Functions of the standard library: training ones, and headers from other files to test on."""
        from heedful.examples import write_jsonl
        from heedful.workflows.corpus import collect_functions, split_by_file, to_example

        functions = collect_functions(longest=self.size.longest)
        train, test = split_by_file(functions, held_out=0.08, seed=self.seed)
        self.train_file.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(map(to_example, train), self.train_file)
        write_jsonl(map(to_example, test), self.test_file)
        self.echo(f"  {len(train):,} functions to learn from, {len(test):,} held out, in files of their own")

    def new_model(self) -> None:
        """A tokenizer that knows the functions, and a model that knows nothing."""
        from heedful.examples import read_jsonl
        from heedful.models import new_model

        texts = [e.prompt[0].content + e.responses[0].text for e in read_jsonl(self.train_file)]
        size = self.size
        new_model(
            self.out / "new",
            texts,
            vocab_size=size.vocab_size,
            hidden_size=size.hidden_size,
            layers=size.layers,
            max_length=512,
            seed=self.seed,
        )

    def score_corpus(self) -> None:
        """Every function as a document, every line of it scored."""
        from heedful.workflows.demo_pretraining import score_corpus

        score_corpus(self.train_file, self.documents, self.scored, lambda line: self.echo(f"  {line}"))

    def settings(self, name: str, *words: str) -> Any:
        """The recipe demo/NAME with these words, in the demo's folder."""
        from heedful.config import load_train
        from heedful.objectives import get
        from heedful.recipes import recipe_path

        places = [f"out={self.out / name}", f"cache_dir={self.out / 'cache'}", f"seed={self.seed}"]
        return load_train([recipe_path(f"demo/{name}")], [*words, *places], find=get)

    def train_stage(self, name: str, settings: Any, after: list[str]) -> None:
        """A training run; one that was killed goes on where it was."""

        def work() -> None:
            from heedful.training import train

            train(settings, echo=lambda line: self.echo(f"  {line}"))

        inputs = settings.model_dump(mode="json", exclude={"out", "model", "data", "cache_dir"})
        self.stages.run(name, work, after=after, inputs=inputs, outputs=[self.out / name], continues=True)

    def sample_feedback(self) -> None:
        """The base model's bodies for headers it was trained on, each with its PEP 8 score."""
        from heedful.examples import read_jsonl

        headers = _distinct_prompts(read_jsonl(self.train_file), self.size.feedback_prompts, self.seed)
        self.sample("base", headers, self.size.feedback_samples, self.feedback_file)

    def make_pairs(self) -> None:
        """Feedback as preferences: tidier bodies over less tidy ones of like length for the same header."""
        from heedful.examples import read_jsonl, write_jsonl
        from heedful.scorers import SCORERS
        from heedful.workflows.feedback import make_pairs

        pairs, counts = make_pairs(read_jsonl(self.feedback_file), SCORERS["pep8"])
        if len(pairs) < LEAST_PAIRS:
            raise RunError(f"Only {len(pairs)} pairs came of the samples, too few to learn from: {self.feedback_file}.")
        write_jsonl(pairs, self.learnt_from["pairs"])
        (self.out / "data" / "pairs.json").write_text(json.dumps(asdict(counts), indent=1), encoding="utf-8")
        self.echo(f"  {counts.num_pairs:,} pairs of {counts.num_prompts:,} headers")

    def make_rewards(self) -> None:
        """Feedback as rewards: every sample with its own, every header with its value."""
        from heedful.examples import read_jsonl, write_jsonl
        from heedful.scorers import SCORERS
        from heedful.workflows.feedback import make_rewards

        rewarded = make_rewards(read_jsonl(self.feedback_file), SCORERS["pep8"])
        write_jsonl(rewarded, self.learnt_from["rewards"])
        self.echo(f"  rewards of {sum(len(e.responses) for e in rewarded):,} samples of {len(rewarded):,} headers")

    def samples(self, name: str) -> Path:
        """The file of a model's samples of the held-out headers."""
        return self.out / "samples" / f"{name}.jsonl"

    def sample_test(self, name: str) -> None:
        """A model's bodies for held-out headers, scored, with their log-probability under the base model."""
        from heedful.examples import read_jsonl

        headers = _distinct_prompts(read_jsonl(self.test_file), self.size.test_prompts, self.seed)
        self.sample(name, headers, self.size.test_samples, self.samples(name))

    def sample(self, name: str, prompts: list[Example], num_samples: int, file: Path) -> None:
        from heedful.examples import write_jsonl
        from heedful.scorers import SCORERS
        from heedful.workflows.demo_pretraining import sample_bodies
        from heedful.workflows.sampling import sample_examples

        length = self.size.max_new_tokens
        if name in PRETRAINED:
            folder = self.out / name
            examples = sample_bodies(folder, prompts, num_samples=num_samples, max_new_tokens=length, seed=self.seed)
        else:
            examples = sample_examples(
                str(self.out / name),
                prompts,
                logps_of=str(self.out / "base"),
                echo=lambda line: self.echo(f"  {line}"),
                samples_per_prompt=num_samples,
                max_new_tokens=length,
                seed=self.seed,
            )
        for scorer in ("pep8", "parses", "statements"):
            _keep_scores(examples, scorer, SCORERS[scorer].examples(examples))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(examples, file)

    def report(self) -> Path:
        """Measure, say it, and write table.json, table.md and report.html."""
        from heedful.examples import read_jsonl
        from heedful.workflows import demo_report, demo_table
        from heedful.workflows.tables import print_table, to_markdown, write_json, write_text

        names = (*PRETRAINED, "base", *METHODS)
        samples = {name: read_jsonl(self.samples(name)) for name in names}
        starts = {name: PRETRAINED[0] if name in PRETRAINED else "base" for name in names}
        rows = [demo_table.measure(n, s, samples[starts[n]], seed=self.seed) for n, s in samples.items()]
        seconds = self.stages.seconds
        settings = {"seed": self.seed, "python": sys.version.split()[0], **asdict(self.size)}
        table = demo_table.to_json(rows, seconds, settings)
        texts = [demo_table.cells(row, seconds.get(row.name), seconds[f"samples of {row.name}"]) for row in rows]
        notes = [f"{row.name}: {row.verdict}" for row in rows if row.success is not None]
        notes.append(demo_report.reward_note(self.out / "reward"))
        write_json(self.out / "table.json", table)
        write_text(self.out / "table.md", to_markdown(demo_table.HEADERS, texts, notes))
        counts = {"pairs": json.loads((self.out / "data" / "pairs.json").read_text(encoding="utf-8"))}
        counts["samples of each model"] = {"headers": len(samples["base"]), "samples of each": self.size.test_samples}
        path = demo_report.write(self.out, rows, samples, seconds, counts)
        print_table("Completing headers of functions that no training saw", demo_table.HEADERS, texts, notes)
        self.echo(", ".join(f"{stage} {s:.0f} s" for stage, s in seconds.items()))
        self.echo(f"together {sum(seconds.values()):.0f} s")
        self.echo(f"\nWrote {self.out}: report.html (open it in any browser), table.md, table.json, and the models.")
        self.echo(f"Next: heed sample {self.out / 'dpo'} {self.test_file} --samples-per-prompt 4")
        return path


def _keep_scores(examples: list[Example], name: str, scores: list[list[float]]) -> None:
    """Hang the scores on the responses, in `extra` under this name."""
    for example, row in zip(examples, scores, strict=True):
        for response, value in zip(example.responses, row, strict=True):
            response.extra[name] = value


def _distinct_prompts(examples: list[Example], count: int, seed: int) -> list[Example]:
    """`count` different prompts drawn by the seed."""
    from heedful.workflows.sampling import distinct_prompts

    prompts = distinct_prompts(examples)
    return random.Random(seed).sample(prompts, min(count, len(prompts)))


def _plan(out: Path, quick: bool) -> list[str]:
    size, time = (QUICK, "one or two minutes") if quick else (FULL, "five to ten minutes")
    return [
        f"In {out}, {time} on two cores, 1.5 GB of memory, no network:",
        f"  corpus: functions of {sys.prefix}'s standard library, at most {size.longest} characters",
        "  scores: every line of them, for PEP 8",
        *(f"  {name}: pretrained on the scored functions (recipe demo/{name})" for name in PRETRAINED),
        f"  base: a Llama {size.hidden_size} wide with {size.layers} layers, from random weights (recipe demo/base)",
        f"  feedback: {size.feedback_samples} bodies for each of {size.feedback_prompts} headers, scored for PEP 8",
        "  pairs: tidier over less tidy bodies of the same header; rewards: every body with its own",
        "  reward: a reward model on the pairs (recipe demo/reward)",
        *(
            f"  {method}: the base model aligned on the {form} (recipe demo/{method})"
            for method, form in METHODS.items()
        ),
        f"  samples: {size.test_samples} bodies for each of {size.test_prompts} held-out headers from every model",
        "  report: table.md, table.json, report.html",
    ]
