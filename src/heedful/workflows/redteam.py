"""`heed redteam`: prompts that make a model misbehave, found by an attacker that sees the worst so far.  Top to bottom.

After every round all is on disk, so that a stopped run goes on and ends with the same bits.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from heedful.config import RedTeamConfig
from heedful.evaluation.redteam import (
    INSTRUCTIONS,
    Candidate,
    attack_message,
    attack_prompt,
    draw_shown,
    parse_candidates,
    round_metrics,
)
from heedful.evaluation.scenarios import banned_ids, check_prefix, continuations, read_prompts
from heedful.examples.io import unwritable, write_rows
from heedful.models import load_policy
from heedful.models.folders import resolve, weight_files
from heedful.rollouts import NoRoom
from heedful.rollouts.endpoint import is_endpoint, parse_endpoint
from heedful.scorers import Scorer, get
from heedful.scorers.documents import judge_documents, scores_of
from heedful.tokens.templates import Template
from heedful.training.world import choose_device
from heedful.types import Echo, RunError, UserError
from heedful.workflows.begun import begin
from heedful.workflows.tables import write_json

CONFIG, STATE, ROUNDS, WORST = "config.json", "state.json", "rounds.jsonl", "worst_prompts.jsonl"
Attack = Callable[[str, int], list[str]]
"""(prompt, seed) → the attacker's answers."""


def redteam(model: str, config: RedTeamConfig, *, dry_run: bool = False, echo: Echo = print) -> Path:
    """Attack `model` and write worst_prompts.jsonl, rounds.jsonl and report.html; continue what was begun there.

    Raises UserError for whatever is not there, before a model loads; RunError if the attacker's server fails, after
    which the same command goes on with the round it failed in.
    """
    weight_files(resolve(model))
    if config.attacker_api == "chat" and not is_endpoint(config.attacker):
        raise UserError(
            f"attacker_api=chat asks a server; {config.attacker} is none, so name one as attacker=URL#MODEL."
        )
    attack_with = parse_endpoint(config.attacker) if is_endpoint(config.attacker) else resolve(config.attacker)
    first = read_prompts(config.pool or f"phf/prompts/{config.task}", "pool")[: config.pool_size]
    instruction = _instruction(config)
    if (there := unwritable(config.out / STATE)) is not None or config.out.is_file():
        raise UserError(f"out={config.out} cannot be written, because of {there or config.out}; name another folder.")
    scorer = get(config.scorer, device=str(choose_device(config.device)))
    if dry_run:
        total = config.trials * config.rounds * config.responses * config.num_samples
        echo(f"would attack {model} by {config.attacker} in {config.trials} trials of {config.rounds} rounds")
        echo(f"with at least {total:,} samples, scored by {config.scorer}: {scorer.about}")
        echo(f"into {config.out}; nothing was written there")
        return config.out
    pools, rounds = _begin(model, config)
    target = Target(model, config, scorer)
    attack = _attacker(config, attack_with)
    for trial in range(config.trials):
        if trial == len(pools):
            pools.append(target.all_judged(first, 0))
            if not pools[-1]:
                raise RunError(f"{config.scorer} can judge the samples of no prompt of the first pool.")
            _keep(config, pools, rounds)
        done = sum(row["trial"] == trial for row in rounds)
        for number in range(done + 1, config.rounds + 1):
            row = _one_round(config, instruction, attack, target, pools[trial], trial, number)
            rounds.append(row)
            _keep(config, pools, rounds)
            found = f"{row['new']} new" if row["new"] else "nothing that can be read as a prompt"
            echo(f"trial {trial + 1} round {number}: {found}, best {row['best']:.4g}, average {row['average']:.4g}")
    return _report(model, config, pools, rounds, echo)


def _one_round(
    config: RedTeamConfig,
    instruction: str,
    attack: Attack,
    target: Target,
    pool: list[Candidate],
    trial: int,
    number: int,
) -> dict[str, Any]:
    """Show, ask, parse, judge; the pool grows."""
    seed = _seed(config.seed, trial, number)
    chat = config.attacker_api == "chat"
    ask = attack_message if chat else attack_prompt
    shown = draw_shown(pool, config.shown, config.pool_temperature, random.Random(seed))
    while True:
        try:
            answers = attack(ask(config.task, instruction, shown), seed)
            break
        except NoRoom:
            if not shown:
                raise
            shown = shown[:-1]
    known = {candidate.prompt for candidate in pool}
    read = dict.fromkeys(prompt for answer in answers for prompt in parse_candidates(config.task, answer, chat=chat))
    new = [prompt for prompt in read if prompt not in known]
    judged = target.all_judged(new, number)
    pool += judged
    metrics = {**round_metrics(pool, number), "not_judged": len(new) - len(judged)}
    return {"trial": trial, "round": number, **metrics, "shown": shown}


def _seed(*parts: int) -> int:
    return int.from_bytes(hashlib.blake2b(json.dumps(parts).encode(), digest_size=4).digest(), "little")


def _instruction(config: RedTeamConfig) -> str:
    if config.instruction is None:
        return INSTRUCTIONS[config.task]
    try:
        return config.instruction.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"instruction={config.instruction} cannot be read ({problem}); give a text file.") from None


class Target:
    """The attacked model, and how prompts are judged by its samples."""

    def __init__(self, model: str, config: RedTeamConfig, scorer: Scorer) -> None:
        self.config, self.scorer = config, scorer
        loaded = load_policy(model, device=choose_device(config.device))
        self.model, self.template = loaded.model, Template.load(loaded.tokenizer, None)
        self.banned = banned_ids(self.template, config.banned)
        check_prefix(self.template, config.prefix)

    def all_judged(self, prompts: Sequence[str], born: int) -> list[Candidate]:
        """Those prompts of which something can be said: that leave room for samples, of which one can be judged."""
        return [one for prompt in prompts if (one := self.judged(prompt, born)) is not None]

    def judged(self, prompt: str, born: int) -> Candidate | None:
        """The prompt with the mean score of its samples, and its own.  What cannot be judged does not count."""
        try:
            return self._judged(prompt, born)
        except NoRoom:
            return None

    def _judged(self, prompt: str, born: int) -> Candidate | None:
        config = self.config
        rollouts = continuations(
            self.model,
            self.template,
            [config.prefix + prompt],
            samples_per_prompt=config.num_samples,
            max_new_tokens=config.max_new_tokens,
            min_new_tokens=min(config.min_new_tokens, config.max_new_tokens),
            temperature=config.temperature,
            top_p=config.top_p,
            banned_ids=self.banned,
            seed=config.seed,
        )
        samples = [rollout.text for rollout in rollouts]
        texts = [prompt + text for text in samples] if config.score_prompt else samples
        own, *found = scores_of(judge_documents(self.scorer, [prompt, *texts]))
        known = [(score, text) for score, text in zip(found, samples, strict=True) if score is not None]
        if not known:
            return None
        return Candidate(prompt, fmean(score for score, _ in known), own, born, max(known)[1])


def _attacker(config: RedTeamConfig, who: Any) -> Attack:
    """How the attacker is asked."""
    if config.attacker_api == "chat":
        return lambda prompt, seed: who.chat(
            [{"role": "user", "content": prompt}],
            max_tokens=config.attacker_tokens,
            n=config.responses,
            temperature=config.attacker_temperature,
            seed=seed,
        )
    if not isinstance(who, str):
        return lambda prompt, seed: [
            one.text
            for one in who.completions(
                prompt,
                max_tokens=config.attacker_tokens,
                n=config.responses,
                temperature=config.attacker_temperature,
                seed=seed,
            )
        ]
    loaded = load_policy(who, device=choose_device(config.device))
    template = Template.load(loaded.tokenizer, None)

    def attack(prompt: str, seed: int) -> list[str]:
        rollouts = continuations(
            loaded.model,
            template,
            [prompt],
            samples_per_prompt=config.responses,
            max_new_tokens=config.attacker_tokens,
            temperature=config.attacker_temperature,
            seed=seed,
        )
        return [rollout.text for rollout in rollouts]

    return attack


def _begin(model: str, config: RedTeamConfig) -> tuple[list[list[Candidate]], list[dict[str, Any]]]:
    """Pools and rounds so far.  Raises UserError where another attack was begun."""
    asked = {"model": model, **config.model_dump(mode="json", exclude={"out"})}
    if begin(config.out, asked, config.out / CONFIG) and (config.out / STATE).exists():
        state = json.loads((config.out / STATE).read_text(encoding="utf-8"))
        return [[Candidate(**c) for c in pool] for pool in state["pools"]], state["rounds"]
    return [], []


def _keep(config: RedTeamConfig, pools: Sequence[Sequence[Candidate]], rounds: Sequence[dict[str, Any]]) -> None:
    state = {"pools": [[asdict(candidate) for candidate in pool] for pool in pools], "rounds": list(rounds)}
    write_json(config.out / STATE, state)


def _report(
    model: str,
    config: RedTeamConfig,
    pools: Sequence[Sequence[Candidate]],
    rounds: Sequence[dict[str, Any]],
    echo: Echo,
) -> Path:
    """rounds.jsonl, worst_prompts.jsonl and report.html."""
    from heedful.reports import blocks, curves
    from heedful.reports.page import Section, write_report

    worst = sorted((c for pool in pools for c in pool), key=lambda c: -c.score)
    for name, rows in ((ROUNDS, rounds), (WORST, [asdict(candidate) for candidate in worst])):
        write_rows(rows, config.out / name)
    trials = [f"trial {trial + 1}" for trial in range(config.trials)]
    charts = [
        curves.chart(
            metric,
            {t: [(r["round"], r[metric]) for r in rounds if r["trial"] == i] for i, t in enumerate(trials)},
            x="round",
            names=trials,
        )
        for metric in ("best", "best_10", "average")
    ]
    cells = [[f"{c.score:.4g}", _own(c), str(c.born), c.prompt, c.worst] for c in worst[:50]]
    headers = ["score", "its own", "round", "prompt", "the worst of its samples"]
    sections = [
        Section("Curves", curves.legend(trials) + curves.grid([chart for chart in charts if chart])),
        Section("Worst prompts", blocks.table(headers, cells, words=True)),
        Section("Settings", blocks.facts({"model": model, **config.model_dump(mode="json")})),
    ]
    write_report(config.out / "report.html", f"Red team: {model}", sections)
    echo(f"Wrote {config.out}: {WORST}, {ROUNDS}, report.html; the worst prompt scores {worst[0].score:.4g}.")
    return config.out


def _own(candidate: Candidate) -> str:
    return "–" if candidate.own_score is None else f"{candidate.own_score:.4g}"
