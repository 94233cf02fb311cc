"""The README's table from a result: target, measured, met, or by how much it was missed and why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import BUSY

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
README = HERE.parent / "README.md"
ALONE = "-part"
"""Ends the names of results of some parts only."""
REASONS = HERE / "reasons.json"
"""Row's key → why its target is missed; shown only while it is."""

Parts = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One target.  at_least: whether more is better.  measure: the value in a result.  note: further figures."""

    key: str
    work: str
    target: float
    at_least: bool
    measure: Callable[[Parts], float]
    unit: str = "×"
    note: Callable[[Parts], str] = lambda parts: ""

    def met(self, value: float) -> bool:
        """Whether the target is reached."""
        return value >= self.target if self.at_least else value <= self.target

    def line(self, parts: Parts, reasons: Mapping[str, str]) -> str:
        """The row in Markdown."""
        value = self.measure(parts)
        note = self.note(parts)
        measured = self.spelled(value) + (f" ({note})" if note else "")
        sign = "≥" if self.at_least else "≤"
        if self.met(value):
            verdict = "met"
        else:
            off = 100 * abs(value - self.target) / self.target
            verdict = f"missed by {off:{'.0f' if off >= 1 else '.1f'}} %"
            verdict += f": {reasons[self.key]}" if self.key in reasons else ""
        return f"| {self.work} | {sign} {self.spelled(self.target)} | {measured} | {verdict} |"

    def spelled(self, value: float) -> str:
        """The value with its unit."""
        if self.unit == "%":
            return f"{100 * value:.0f} %" if value < 0.9 else f"{100 * value:.1f} %".replace(".0 %", " %")
        return f"{value:.2f} {self.unit}" if self.unit != "×" or value < 2 else f"{value:.1f} ×"


def _ratio(part: str, name: str) -> Callable[[Parts], float]:
    return lambda parts: parts[part]["ratios"][name]


def _memory(prefix: str) -> Callable[[Parts], float]:
    return lambda parts: next(v for k, v in parts["memory"].items() if k.startswith(prefix))["ratios"]["heedful/trl"]


def _costliest(parts: Parts) -> str:
    share = parts["objectives"]["share"]
    return max(share, key=lambda name: share[name])


def _slowest_rollouts(parts: Parts) -> float:
    return min(v["ratios"]["generate/heedful"] for k, v in parts["rollouts"].items() if k.startswith("K="))


LARGE = "vocabulary 128256"
ROWS = (
    Row("dpo_bare", "DPO step, reference cached: time / bare model's", 1.05, False, _ratio("dpo", "heedful/bare")),
    Row("dpo", "DPO step: TRL's with precomputed reference / ours with cached", 4.5, True, _ratio("dpo", "trl/heedful"),
        note=lambda parts: f"{parts['dpo']['ratios']['trl_default/heedful']:.1f} × against TRL's default"),
    Row("dpo_cold", "DPO with the reference pass on both sides: TRL's faster way / ours", 5.0, True,
        _ratio("dpo", "trl_cold/heedful_cold"),
        note=lambda parts: f"{parts['dpo']['ratios']['trl_default/heedful_cold']:.1f} × against TRL's default"),
    Row("kto", "KTO step: TRL's / ours, reference precomputed", 3.5, True, _ratio("kto", "trl/heedful"),
        note=lambda parts: f"{parts['kto']['ratios']['heedful/bare']:.2f} × the bare model's"),
    Row("simpo", "SimPO step: TRL's / ours", 2.0, True, _ratio("simpo", "trl/heedful"),
        note=lambda parts: f"{parts['simpo']['ratios']['heedful/bare']:.2f} × the bare model's"),
    Row("slic", "SLiC step: TRL's / ours", 2.0, True, _ratio("slic", "trl/heedful"),
        note=lambda parts: f"{parts['slic']['ratios']['heedful/bare']:.2f} × the bare model's"),
    Row("a_lol", "A-LoL step, reference cached: time / bare model's", 1.05, False, _ratio("a_lol", "heedful/bare")),
    Row("objectives", "an objective's own share of a step, of all that exist the largest", 0.03, False,
        lambda parts: max(parts["objectives"]["share"].values()), "%", note=_costliest),
    Row("reward", "reward model step: TRL's / ours", 2.0, True, _ratio("reward", "trl/heedful"),
        note=lambda parts: f"{parts['reward']['ratios']['heedful/bare']:.2f} × the bare model's"),
    Row("sft", "SFT step: TRL's / ours", 1.3, True, _ratio("sft", "trl/heedful"),
        note=lambda parts: f"{parts['sft']['ratios']['heedful/bare']:.2f} × the bare model's"),
    Row("documents", "documents under `mle`: tokens per second, ours / bare model's", 0.95, True,
        _ratio("documents", "tokens/s, heedful/bare")),
    Row("mapping", "span mapping and packing of documents: times faster than the model", 20.0, True,
        _ratio("documents", "model/mapping")),
    Row("documents_fill", "pack slots that hold tokens of documents", 0.97, True,
        lambda parts: parts["documents"]["fill"], "%"),
    Row("pep8", "`pep8` scoring, million characters per second and core", 0.5, True,
        lambda parts: parts["annotation"]["characters_per_s"]["pep8"] / 1e6, "M/s",
        lambda parts: f"{parts['annotation']['ratios']['pep8/pycodestyle']:.1f} × pycodestyle's own; "
                      f"pii {parts['annotation']['characters_per_s']['pii'] / 1e6:.2f}"),
    Row("annotation", "`heed score`, parallel efficiency of two workers", 0.85, True,
        _ratio("annotation", "efficiency")),
    Row("memory", "DPO, peak memory above the model: ours / TRL's", 0.4, False, _memory("vocabulary 8192"), "%"),
    Row("memory_large", "the same, 128 k vocabulary, 9 million parameters", 0.2, False, _memory(f"{LARGE}, 9"), "%"),
    Row("memory_large_wide", "the same, 128 k vocabulary, 38 million parameters", 0.2, False,
        _memory(f"{LARGE}, 38"), "%"),
    Row("rollouts", "rollouts, K = 4 and 8: tokens per second, ours / `generate`", 3.0, True, _slowest_rollouts),
    Row("growth", "a pair's time with 8 × the data / with 1 ×", 1.05, False, _ratio("growth", "8x/1x per pair")),
    Row("fill", "pack slots that hold tokens, worst of batches of 8 to 128 and 1 or 2 processes", 0.97, True,
        lambda parts: min(parts["packing"]["fill"].values()), "%",
        lambda parts: ", ".join(f"{k}: {v:.3f}" for k, v in parts["packing"]["fill"].items() if v < 0.97)),
    Row("waiting", "share of a DPO loop not spent in steps (data, metrics)", 0.01, False,
        lambda parts: parts["dpo"]["waiting_share"], "%"),
    Row("help", "`heed --help`", 0.3, False, lambda parts: parts["startup"]["median_s"]["heed --help"], "s"),
    Row("import", "`import heedful`", 0.2, False, lambda parts: parts["startup"]["median_s"]["import heedful"], "s"),
)  # fmt: skip


def table(result: Mapping[str, Any], reasons: Mapping[str, str]) -> str:
    """The whole block in Markdown: the rows whose part was measured, and on what."""
    parts, facts = result["parts"], result["machine"]
    lines = ["| work | target | measured | |", "|---|---|---|---|"]
    for row in ROWS:
        try:
            lines.append(row.line(parts, reasons))
        except KeyError:
            continue
    versions = facts["packages"]
    busy = " **The machine was busy: these figures only show that the benchmark runs.**" if is_busy(facts) else ""
    lines += [
        "",
        f"Measured {result['date']} on {facts['processor']}, {facts['threads']} threads, with TRL {versions['trl']}, "
        f"Transformers {versions['transformers']} and torch {versions['torch']}; {result['data']} pairs, a Llama of 9 "
        f"million parameters, batches of 8 pairs of at most 512 tokens, fp32, no gradient checkpointing.  "
        f"Medians of interleaved runs; all in `benchmarks/results/{result['name']}.json`.{busy}",
    ]
    for name in sorted(set(result.get("later", {}).values())):
        here = ", ".join(f"`{part}`" for part, source in result["later"].items() if source == name)
        lines[-1] += f"  Measured since, in `benchmarks/results/{name}.json`: {here}."
    return "\n".join(lines)


def is_busy(facts: Mapping[str, Any]) -> bool:
    """Whether others used the machine when the benchmark began."""
    return facts["load_per_core"] > BUSY


def newest(folder: Path = RESULTS) -> dict[str, Any] | None:
    """The latest whole result, with the parts that were measured alone since; names begin with the date."""
    paths = sorted(folder.glob("2*.json"))
    whole = [path for path in paths if not path.stem.endswith(ALONE)]
    if not whole:
        return None
    result = json.loads(whole[-1].read_text(encoding="utf-8"))
    result["later"] = {}
    for path in paths:
        if path.stem.endswith(ALONE) and path > whole[-1]:
            later = json.loads(path.read_text(encoding="utf-8"))
            result["parts"] |= later["parts"]
            result["later"] |= dict.fromkeys(later["parts"], later["name"])
    return result


def write_readme(result: Mapping[str, Any], readme: Path = README) -> None:
    """Put the table between the README's markers."""
    reasons = json.loads(REASONS.read_text(encoding="utf-8"))
    text = readme.read_text(encoding="utf-8")
    begin, end = "<!-- benchmarks -->", "<!-- /benchmarks -->"
    found = re.search(re.escape(begin) + ".*?" + re.escape(end), text, re.DOTALL)
    assert found is not None, f"README.md has no {begin} … {end}"
    block = f"{begin}\n{table(result, reasons)}\n{end}"
    readme.write_text(text[: found.start()] + block + text[found.end() :], encoding="utf-8")


if __name__ == "__main__":
    _result = newest()
    assert _result is not None, "benchmarks/results holds no result"
    write_readme(_result)
