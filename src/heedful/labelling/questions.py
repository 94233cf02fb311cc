"""What a project asks about an item, and whether an answer answers it.

An answer speaks of responses by their keys (`r0`, `r1`, …), never by where they stood on the screen:

    {"preference": {"winner": "r1", "strength": 2}, "rating": {"r0": {"helpful": 4}, "r1": {"helpful": 5}}, …}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, field_validator

Value = dict[str, Any]
"""The answer to all questions of an item: question → what was said."""

HARMS = (
    "Animal Abuse",
    "Copyright Issues",
    "Cybercrime",
    "Discriminatory Behavior",
    "Disrupting Public Order",
    "Drugs",
    "Economic Crime",
    "Endangering National Security",
    "Endangering Public Health",
    "Environmental Damage",
    "Human Trafficking",
    "Insulting Behavior",
    "Mental Manipulation",
    "Physical Harm",
    "Privacy Violation",
    "Psychological Harm",
    "Sexual Content",
    "Violence",
    "White-Collar Crime",
)
"""The harm categories of PKU-SafeRLHF (Ji et al. 2024, arXiv:2406.15513)."""
SEVERITIES = ("none", "minor", "moderate", "severe")
OUTCOMES = ("tie", "both_bad")

Length = Annotated[int, Ge(1), Le(1_000_000)]


class Question(BaseModel):
    """What every question has.  title: what the labeller reads above it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    required: bool = True


class Preference(Question):
    """Which response is better.  strength: grades from 1, slightly, to this many; 1 asks for none."""

    title: str = "Which response is better?"
    strength: Annotated[int, Ge(1), Le(7)] = 1
    tie: bool = True
    both_bad: bool = True


class Ranking(Question):
    """Competition ranks, 1 best.  ties: whether two responses may share one."""

    title: str = "Rank the responses, best first"
    ties: bool = True


MOST_GRADES = 100
LARGEST_GRADE = 10_000


class Dimension(BaseModel):
    """One scale.  low, high: its ends; labels: what they say on the page, one a grade, or none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    low: int = 1
    high: int = 5
    labels: tuple[str, ...] = ()


class Rating(Question):
    """A grade for every response on every dimension."""

    title: str = "Rate each response"
    dimensions: dict[str, Dimension] = Field({"quality": Dimension()}, min_length=1)

    @field_validator("dimensions")
    @classmethod
    def _rises(cls, dimensions: dict[str, Dimension]) -> dict[str, Dimension]:
        for name, dimension in dimensions.items():
            if not dimension.low < dimension.high <= dimension.low + MOST_GRADES:
                raise ValueError(f"dimension {name} must have high above low, by {MOST_GRADES} at the most")
            if abs(dimension.low) > LARGEST_GRADE:
                raise ValueError(f"dimension {name} must have grades from -{LARGEST_GRADE:,} to {LARGEST_GRADE:,}")
            if dimension.labels and len(dimension.labels) != dimension.high - dimension.low + 1:
                raise ValueError(f"dimension {name} must have one label a grade, {dimension.low} to {dimension.high}")
        return dimensions


class Thumbs(Question):
    """Whether each response is good, by itself."""

    title: str = "Is each response good?"


class Safety(Question):
    """Whether each response is safe; of an unsafe one the harms and how severe they are.

    consistent: what happens if one response is safe, the other not, and the unsafe one is called safer: an error that
    must be mended, or a warning that is kept with the answer.
    """

    title: str = "Is each response safe?"
    harms: tuple[str, ...] = HARMS
    need_harms: bool = True
    severity: bool = True
    safer: bool = True
    consistent: Literal["error", "warning"] = "error"


class Rationale(Question):
    """Why, in the labeller's words."""

    title: str = "Why?"
    required: bool = False
    max_length: Length = 4000


class Confidence(Question):
    """How sure the labeller is, from 1 to `levels`."""

    title: str = "How sure are you?"
    required: bool = False
    levels: Annotated[int, Ge(2), Le(7)] = 5


class Questions(BaseModel):
    """The questions of a project, in the order in which they are asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preference: Preference | None = None
    ranking: Ranking | None = None
    rating: Rating | None = None
    thumbs: Thumbs | None = None
    safety: Safety | None = None
    rationale: Rationale | None = None
    confidence: Confidence | None = None

    def asked(self) -> dict[str, Question]:
        """Name and question of each that is asked."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: question for name, question in found.items() if question is not None}

    def problem_with_item(self, num_responses: int) -> str | None:
        """Why these questions cannot be asked of an item with so many responses, or None."""
        if num_responses < 1:
            return "it has no response"
        if self.preference is not None and num_responses != 2:
            return f"which response is better is asked of two, and it has {num_responses}"
        if self.ranking is not None and num_responses < 2:
            return "it has one response, and ranking needs two"
        return None


class Verdict(BaseModel):
    """problems: why an answer is refused, by question.  warnings: what is kept with one that is taken."""

    problems: dict[str, str] = {}
    warnings: list[str] = []


def check(questions: Questions, keys: Sequence[str], value: Mapping[str, Any]) -> Verdict:
    """Whether `value` answers the questions about the responses `keys`, entirely and without contradiction."""
    verdict = Verdict()
    asked = questions.asked()
    known = {*asked, *(["safer"] if questions.safety is not None and questions.safety.safer else [])}
    for name in value:
        if name not in known:
            verdict.problems[name] = "no such question is asked"
    for name, question in asked.items():
        if value.get(name) is None:
            if question.required:
                verdict.problems[name] = "an answer is missing"
            continue
        problem = CHECKS[name](question, keys, value[name])
        if problem is not None:
            verdict.problems[name] = problem
    _check_safer(questions, keys, value, verdict)
    _check_agreement(value, verdict)
    return verdict


def well_formed(questions: Questions, keys: Sequence[str], value: Any) -> Value:
    """Of what nobody checked, a model's suggestion, the parts that answer questions which are asked.

    A preference may lack its strength, and a tie its name.
    """
    found: Value = {}
    if not isinstance(value, Mapping):
        return found
    for name, question in questions.asked().items():
        said: Any = value.get(name)
        if name == "preference" and isinstance(said, dict) and "winner" in said:
            said = {"outcome": "tie", **said} if said["winner"] is None else said
            whole: Any = said if said["winner"] is None else {"strength": 1, **said}
        else:
            whole = said
        if said is not None and CHECKS[name](question, keys, whole) is None:
            found[name] = said
    safer = value.get("safer")
    is_asked = questions.safety is not None and questions.safety.safer
    if is_asked and isinstance(safer, dict) and safer.get("winner", "") in (*keys, None):
        found["safer"] = {"winner": safer["winner"]}
    return found


def competition_ranks(values: Mapping[str, float]) -> dict[str, int]:
    """1 for the lowest, and for each other one more than there are lower ones; equal ones share a rank."""
    return {name: 1 + sum(other < value for other in values.values()) for name, value in values.items()}


def _preference(question: Preference, keys: Sequence[str], said: Any) -> str | None:
    if not isinstance(said, dict) or not {"winner"} <= set(said) <= {"winner", "outcome", "strength"}:
        return "must be {winner, outcome, strength}"
    winner, outcome, strength = said["winner"], said.get("outcome"), said.get("strength")
    if winner is None:
        allowed = [name for name in OUTCOMES if getattr(question, name)]
        if outcome not in allowed:
            return f"without a winner the outcome must be {' or '.join(allowed)}" if allowed else "must name a winner"
        return "strength needs a winner" if strength is not None else None
    if winner not in keys:
        return f"no response is called {winner!r}"
    if outcome is not None:
        return "is either a winner or an outcome"
    if question.strength == 1:
        return None if strength in (None, 1) else "no strength is asked for"
    return None if _is_grade(strength, 1, question.strength) else f"strength must be 1 to {question.strength}"


def _ranking(question: Ranking, keys: Sequence[str], said: Any) -> str | None:
    ranks = said.get("ranks") if isinstance(said, dict) and set(said) == {"ranks"} else None
    if not isinstance(ranks, dict) or set(ranks) != set(keys):
        return "must give every response a rank"
    if any(not _is_grade(rank, 1, len(keys)) for rank in ranks.values()):
        return f"ranks must be 1 to {len(keys)}"
    if ranks != competition_ranks(ranks):
        return "ranks must be competition ranks: one more than the number of better responses"
    if not question.ties and len(set(ranks.values())) < len(keys):
        return "no two responses may share a rank"
    return None


def _rating(question: Rating, keys: Sequence[str], said: Any) -> str | None:
    if not isinstance(said, dict) or set(said) != set(keys):
        return "must rate every response"
    for key, grades in said.items():
        if not isinstance(grades, dict) or set(grades) != set(question.dimensions):
            return f"{key} must have a grade for {', '.join(question.dimensions)}"
        for name, grade in grades.items():
            scale = question.dimensions[name]
            if not _is_grade(grade, scale.low, scale.high):
                return f"{name} of {key} must be {scale.low} to {scale.high}"
    return None


def _thumbs(_question: Thumbs, keys: Sequence[str], said: Any) -> str | None:
    if not isinstance(said, dict) or set(said) != set(keys):
        return "must judge every response"
    return None if all(isinstance(up, bool) for up in said.values()) else "must be true or false for each"


def _safety(question: Safety, keys: Sequence[str], said: Any) -> str | None:
    if not isinstance(said, dict) or set(said) != set(keys):
        return "must judge every response"
    for key, one in said.items():
        fields = {"is_safe", "harms", *(["severity"] if question.severity else [])}
        if not isinstance(one, dict) or set(one) != fields or not isinstance(one["is_safe"], bool):
            return f"{key} must be {{{', '.join(sorted(fields))}}}"
        harms, severity = one["harms"], one.get("severity")
        if not isinstance(harms, list) or len(set(map(str, harms))) < len(harms):
            return f"the harms of {key} must be a list without doubles"
        unknown = [harm for harm in harms if harm not in question.harms]
        if unknown:
            return f"{unknown[0]!r} is none of the harms"
        if one["is_safe"] and harms:
            return f"{key} is called safe and given a harm"
        if not one["is_safe"] and not harms and question.need_harms:
            return f"{key} is called unsafe: which harm?"
        if question.severity and not _is_grade(severity, 0, len(SEVERITIES) - 1):
            return f"severity of {key} must be 0 to {len(SEVERITIES) - 1}"
        if question.severity and (severity == 0) != one["is_safe"]:
            return f"{key}: severity is 0 exactly where it is safe"
    return None


def _rationale(question: Rationale, _keys: Sequence[str], said: Any) -> str | None:
    if not isinstance(said, str):
        return "must be text"
    if question.required and not said.strip():
        return "an answer is missing"
    return None if len(said) <= question.max_length else f"must be at most {question.max_length:,} characters"


def _confidence(question: Confidence, _keys: Sequence[str], said: Any) -> str | None:
    return None if _is_grade(said, 1, question.levels) else f"must be 1 to {question.levels}"


CHECKS: dict[str, Callable[[Any, Sequence[str], Any], str | None]] = {
    "preference": _preference,
    "ranking": _ranking,
    "rating": _rating,
    "thumbs": _thumbs,
    "safety": _safety,
    "rationale": _rationale,
    "confidence": _confidence,
}


def _is_grade(number: Any, low: int, high: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and low <= number <= high


def _check_safer(questions: Questions, keys: Sequence[str], value: Mapping[str, Any], verdict: Verdict) -> None:
    """`safer` is asked of two; where exactly one is safe, it is that one."""
    safety = questions.safety
    if safety is None or not safety.safer or len(keys) != 2 or value.get("safety") is None:
        if value.get("safer") is not None:
            verdict.problems["safer"] = "which response is safer is asked of two that were judged"
        return
    said = value.get("safer")
    if said is None:
        if safety.required:
            verdict.problems["safer"] = "an answer is missing"
        return
    if not isinstance(said, dict) or set(said) != {"winner"} or said["winner"] not in (*keys, None):
        verdict.problems["safer"] = f"must be {{winner}}: {', '.join(keys)} or null for a tie"
        return
    if "safety" in verdict.problems:
        return
    safe = [key for key in keys if value["safety"][key]["is_safe"]]
    if len(safe) == 1 and said["winner"] != safe[0]:
        sentence = f"only {safe[0]} is called safe, and it is not the safer one"
        if safety.consistent == "error":
            verdict.problems["safer"] = sentence
        else:
            verdict.warnings.append(sentence)


def _check_agreement(value: Mapping[str, Any], verdict: Verdict) -> None:
    """Preference and ranking must say the same."""
    preference, ranking = value.get("preference"), value.get("ranking")
    if not preference or not ranking or {"preference", "ranking"} & set(verdict.problems):
        return
    ranks = ranking["ranks"]
    best = min(ranks.values())
    first = [key for key, rank in ranks.items() if rank == best]
    if preference["winner"] is None and len(first) == 1:
        verdict.problems["ranking"] = "the preference is a tie, and the ranking is none"
    if preference["winner"] is not None and first != [preference["winner"]]:
        verdict.problems["ranking"] = "the preferred response must be ranked first"
