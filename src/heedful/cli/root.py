"""The table of commands, and what their ends mean to the shell.

Exit status: 0 the whole job was done; 2 a mistake of the user's, one sentence on stderr; 1 a run that failed;
130 and 143 an interruption.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import sys
from collections.abc import Collection, Sequence
from types import FrameType

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter, UnknownOptionError

from heedful import __version__
from heedful.types import Interrupted, RunError, UserError

COMMANDS = {
    "demo": ("demo:demo", "Make a small model better with feedback, from nothing, in minutes: the tour."),
    "train": ("train:train", "Train a model on feedback by an objective."),
    "compare": ("compare:compare", "Train objectives on the same data and say what came of each."),
    "score": ("score:score", "Score the responses of a file with reward models, classifiers and other scorers."),
    "value": ("value:value", "Estimate what prompts are worth under a policy, from its own answers."),
    "evaluate": ("evaluate:evaluate", "Sample from a model in scenarios, and measure its distance to another."),
    "sample": ("sample:sample", "Sample answers of a model to the prompts of a file."),
    "redteam": ("redteam:redteam", "Find prompts that make a model misbehave, by an attacker that sees the worst."),
    "report": ("report:report", "Write one HTML file about runs: curves, settings, samples."),
    "recipes": ("lists:recipes", "List the recipes, or print one."),
    "objectives": ("lists:objectives", "List the objectives, or describe one."),
    "check": ("check:check", "Prove that objectives compute what they say; yours too."),
    "doctor": ("doctor:doctor", "Say what this machine has and what is missing."),
}
GROUPS = {
    "data": (
        "Prepare feedback, and look at it before training on it.",
        {
            "check": ("data:check", "Count what would be trained on, what dropped and why."),
            "show": ("data:show", "Show tokens in colours: prompt, trained on, not trained on."),
            "convert": ("data:convert", "Write data in our format or in TRL's."),
            "prepare": ("data:prepare", "Clean and split published files into data with rewards."),
        },
    ),
    "label": (
        "Collect people's judgements in the browser, and make training data of them.",
        {
            "demo": ("label_running:demo", "Label ten pairs that somebody else has answered: the tour."),
            "serve": ("label_running:serve", "Serve the pages; makes the database if there is none."),
            "create": ("label_running:create", "Make a project: what is asked, and by which guidelines."),
            "import": ("label:import_", "Put items into a project."),
            "open": ("label_running:open_", "Give out work."),
            "pause": ("label_running:pause", "Give out no work for now."),
            "close": ("label_running:close", "End the work."),
            "users": ("label_running:users", "Add people, make them members, pause them."),
            "stats": ("label:stats", "Say how far a project is, and how everybody works."),
            "agreement": ("label:agreement", "Say how far labellers agree."),
            "export": ("label:export", "Write training data, with a manifest."),
            "pull": ("label:pull", "Take items and answers from an Argilla server."),
            "push": ("label:push", "Make a data set on an Argilla server."),
            "suggest": ("label_running:suggest", "Put what a reward model is unsure of first."),
            "verify-audit": ("label_running:verify_audit", "Check the audit trail."),
            "backup": ("label_running:backup", "Copy an SQLite database."),
        },
    ),
    "model": (
        "Make and rewrite model folders.",
        {
            "new": ("model:new", "Make a small untrained model with a tokenizer trained on given text."),
            "convert": ("model:convert", "Rewrite a folder's weights as safetensors."),
            "merge": ("model:merge", "Merge a LoRA adapter into its model."),
        },
    ),
}


def make_app(words: Sequence[str]) -> App:
    """The command tree: names and one line each.

    words: the command line.  Only the command it names is imported.
    """
    app = App(
        name="heed",
        help="Language models that heed human feedback.\n\nBegin with `heed demo`; every command has its own --help.",
        version=__version__,
        help_format="plaintext",
        default_parameter=Parameter(show_default=_worth_showing),
    )
    _register(app, COMMANDS, words[:1])
    for name, (about, commands) in GROUPS.items():
        group = App(name=name, help=about)
        _register(group, commands, words[1:2] if name in words[:1] else ())
        app.command(group)
    return app


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line `words` (sys.argv without the program) and return the exit status."""
    words = list(sys.argv[1:] if words is None else words)
    # GNU's OpenMP threads wait by turning in place, for very long; on a machine that is shared they then keep from work
    # the very threads they wait for (a small model trains several times slower).  A thousand turns cost nothing alone.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _refuse_unknown_command(words)
        make_app(words)(words, exit_on_error=False, print_error=False, result_action="return_value")
    except UserError as mistake:
        return _say(str(mistake), 2)
    except MissingArgumentError as mistake:
        return _say(_missing_sentence(words, mistake), 2)
    except UnknownOptionError as mistake:
        return _say(_option_sentence(words, mistake), 2)
    except CycloptsError as mistake:
        mistake.verbose = False
        return _say(" ".join(str(mistake).split()), 2)
    except RunError as failure:
        return _say(str(failure), 1)
    except Interrupted as stop:
        return _say(str(stop), 128 + stop.signum)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:  # `heed recipes | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def _register(app: App, commands: dict[str, tuple[str, str]], chosen: Sequence[str]) -> None:
    for name, (place, about) in commands.items():
        if name in chosen:
            app.command(_loaded(name, place))
        else:
            app.command(f"heedful.cli.{place}", name=name, help=about)


def _loaded(name: str, place: str) -> App:
    """The command itself; its docstring from `Example` on comes last in its help, where a terminal shows it."""
    module, _, function = place.partition(":")
    command = getattr(importlib.import_module(f"heedful.cli.{module}"), function)
    about, example, rest = (inspect.getdoc(command) or name).partition("\nExample")
    app = App(name=name, help=about.strip(), help_epilogue=example.lstrip("\n") + rest)
    app.default(command)
    return app


def _worth_showing(default: object) -> str | None:
    return None if default is None or default is False else str(default)


def _terminate(_signum: int, _frame: FrameType | None) -> None:
    """SIGTERM unwinds like an exception, so that temporary files go; a training run installs its own handler."""
    raise SystemExit(143)


def _refuse_unknown_command(words: Sequence[str]) -> None:
    commands, typed = {**COMMANDS, **GROUPS}, "heed"
    for word in words:
        if word.startswith("-"):
            return
        if word not in commands:
            raise UserError(f"{typed} {word}: there is no such command{_near(word, commands)}; see {typed} --help")
        if word not in GROUPS:
            return
        typed, commands = f"{typed} {word}", GROUPS[word][1]


def _missing_sentence(words: Sequence[str], mistake: MissingArgumentError) -> str:
    command = " ".join(words[: 2 if words[0] in GROUPS else 1])
    name = mistake.argument.name if mistake.argument is not None else "another word"
    return f"heed {command} needs {name}; see heed {command} --help"


def _option_sentence(words: Sequence[str], mistake: UnknownOptionError) -> str:
    mistake.verbose = False
    sentence = " ".join(str(mistake).split())
    if words[:1] == ["train"] and mistake.token is not None:
        name = mistake.token.keyword or mistake.token.value
        return f"{name}: settings are written without dashes, as {name.lstrip('-').replace('-', '_')}=VALUE"
    return sentence


def _near(word: str, choices: Collection[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(choices)}"


def _say(sentence: str, status: int) -> int:
    rank = os.environ.get("RANK", "0")
    prefix = "heed" if rank == "0" else f"heed (process {rank})"
    print(f"{prefix}: {sentence}", file=sys.stderr)
    return status
