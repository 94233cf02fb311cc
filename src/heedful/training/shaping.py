"""From the settings and the objective to the form of the examples: the shape of a view, control tokens, template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from heedful.config import TrainConfig
from heedful.examples import (
    Shaped,
    attach_mismatched,
    to_demonstrations,
    to_lists,
    to_pairs,
    to_separate,
    to_singles,
)
from heedful.models.folders import resolve
from heedful.models.tokenizers import load_tokenizer
from heedful.objectives import conditional
from heedful.objectives.reduce import Objective
from heedful.objectives.trial import needs
from heedful.objectives.views import Lists, Pairs, Tokens
from heedful.tokens.control import add_tokens, attach_controls
from heedful.tokens.documents import Controls
from heedful.tokens.templates import Template
from heedful.types import Example, UserError

JUDGEMENTS = frozenset({"reward", "cost", "desirable", "safe", "severity", "rank", "chosen"})
"""An objective that reads none of these imitates, so it learns from the best response of each prompt."""


def shape(examples: Sequence[Example], objective: Objective, config: TrainConfig) -> Shaped:
    """The examples in the form that the objective's view looks at, with mismatched answers where it needs them.

    Where responses are drawn one by one, each is an Example of its own; of the good ones there is one a prompt.
    Raises UserError if the objective cannot do with single draws, or has nothing to compare.
    """
    if config.sampling != "uniform":
        refuse_draws(objective, config)
    controls = control_tokens(objective)
    if objective.view is Pairs:
        shaped = to_pairs(examples, prefer=config.prefer)
    elif objective.view is Lists and "rank" in needs(objective):
        shaped = to_lists(examples, prefer=config.prefer)
    elif controls or "desirable" in needs(objective):
        shaped = to_singles(examples, prefer=config.prefer)
    elif config.sampling.startswith("good") or (config.sampling == "uniform" and not needs(objective) & JUDGEMENTS):
        shaped = to_demonstrations(examples, prefer=config.prefer)
    else:
        shaped = Shaped(list(examples))
    if objective.view is Lists:
        refuse_lone(shaped.examples, objective)
    if controls:
        shaped = shaped.then(attach_controls, *controls)
    if config.sampling == "all_priority":
        shaped = shaped.then(to_separate)
    return shaped.then(attach_mismatched, config.seed) if objective.statistics and shaped.examples else shaped


def refuse_lone(examples: Sequence[Example], objective: Objective) -> None:
    """Raise UserError if no example has a second response to compare the first with."""
    if examples and all(len(example.responses) < 2 for example in examples):
        raise UserError(
            f"{objective.name} compares the responses of a prompt, and none of {len(examples):,} examples has two (the "
            f"first is {examples[0].origin or examples[0].id}); put all responses to a prompt into one row."
        )


def refuse_draws(objective: Objective, config: TrainConfig) -> None:
    """Raise UserError for an objective that needs several responses of a prompt side by side."""
    if objective.view in (Pairs, Lists):
        raise UserError(
            f"sampling={config.sampling} draws responses one by one, and {objective.name} compares those of a prompt; "
            "use sampling=uniform."
        )
    if config.sampling.startswith("good") and (control_tokens(objective) or "desirable" in needs(objective)):
        raise UserError(
            f"sampling={config.sampling} leaves the worse responses out, and {objective.name} learns from both; "
            "use sampling=all_priority or uniform."
        )


def control_tokens(objective: Objective) -> tuple[str, ...]:
    """(good, bad): the control tokens of an objective that has them, else ().

    The function names the two settings that hold them in its attribute `control_tokens`.
    Raises UserError if the two are equal or one is empty.
    """
    names = getattr(objective.function, "control_tokens", ())
    tokens = tuple(str(objective.settings[name]) for name in names)
    _refuse_same(dict(zip(names, tokens, strict=True)))
    return tokens


def _refuse_same(tokens: Mapping[str, str]) -> None:
    for name, token in tokens.items():
        if not token.strip() or list(tokens.values()).count(token) > 1:
            raise UserError(f"{name}={token}: control tokens must differ and say something, as <|good|> and <|bad|>")


def span_controls(objective: Objective, seed: int) -> Controls | None:
    """The control tokens that an objective puts before the spans of documents, if it does.

    Raises UserError if the two are equal or one is empty.
    """
    if objective.function is not conditional:
        return None
    own = objective.settings
    tokens = own["aligned_token"], own["misaligned_token"]
    _refuse_same(dict(zip(("aligned_token", "misaligned_token"), tokens, strict=True)))
    return Controls(*tokens, own["threshold"], own["drop_token_fraction"], seed)


def added_tokens(objective: Objective) -> tuple[str, ...]:
    """Special tokens that tokenizer and model of a run have in any case."""
    controls = span_controls(objective, 0)
    return control_tokens(objective) if controls is None else (controls.aligned, controls.misaligned)


def learns_from_documents(objective: Objective) -> bool:
    """Whether it looks at the tokens of scored texts without prompts."""
    declared = getattr(objective.function, "on_documents", False)
    return declared or (objective.view is Tokens and "token_scores" in needs(objective))


def load_template(config: TrainConfig, objective: Objective) -> Template:
    """The run's chat template, with its tokenizer; sampling from it is conditioned on the good control token.

    Raises UserError for a model without a tokenizer, or a template that does not fit it.
    """
    code = config.trust_remote_code
    tokenizer = load_tokenizer(resolve(config.model, trust_remote_code=code), trust_remote_code=code)
    controls = control_tokens(objective)
    add_tokens(tokenizer, added_tokens(objective))
    return Template.load(tokenizer, config.template, control=controls[0] if controls else None)
