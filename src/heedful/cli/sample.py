"""`heed sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def sample(
    model: Annotated[str, Parameter(help="a language model: hub name, folder, run folder or checkpoint")],
    prompts: Annotated[str, Parameter(help="file, folder, hub name or mixture; its responses are not used")],
    /,
    *,
    out: Annotated[Path, Parameter(help="JSON Lines file to write")] = Path("samples.jsonl"),
    samples_per_prompt: Annotated[int, Parameter(help="answers to each prompt")] = 1,
    max_new_tokens: Annotated[
        int, Parameter(help="most tokens of an answer; an answer cut there counts as unfinished")
    ] = 256,
    min_new_tokens: Annotated[int, Parameter(help="tokens before which an answer cannot end")] = 0,
    banned: Annotated[
        list[str] | None, Parameter(help="a token that is never sampled, as '<|misaligned|>'; may repeat", negative="")
    ] = None,
    temperature: Annotated[float, Parameter(help="larger is more varied; 0 takes the likeliest token")] = 1.0,
    top_p: Annotated[float, Parameter(help="keep the likeliest tokens of this total probability; 1 keeps all")] = 1.0,
    top_k: Annotated[int | None, Parameter(help="keep this many of the likeliest tokens; all without")] = None,
    seed: Annotated[
        int, Parameter(help="seed; a sample depends on it, its prompt and its number, not on its neighbours")
    ] = 0,
    max_prompt_length: Annotated[
        int | None, Parameter(help="leave out a prompt's oldest turns beyond this many tokens; without, it is refused")
    ] = None,
    control: Annotated[
        str | None,
        Parameter(help="control token to end the prompts with, as '<|bad|>'; without, the one saved with the model"),
    ] = None,
    dry_run: Annotated[bool, Parameter(help="say what would be sampled and how long it takes", negative="")] = False,
) -> None:
    """Sample answers of a model to the prompts of a file.

    Examples:

      heed sample runs/dpo prompts.jsonl --samples-per-prompt 4 --dry-run
      heed sample runs/csft prompts.jsonl --control '<|bad|>'
    """
    from heedful.workflows.sampling import sample as run

    run(
        model,
        prompts,
        out,
        samples_per_prompt=samples_per_prompt,
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        banned=banned or (),
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        max_prompt_length=max_prompt_length,
        control=control,
        dry_run=dry_run,
    )
    if not dry_run:
        print(f"Wrote {out}: every prompt with its answers. Next: heed score REWARD_MODEL {out}")
