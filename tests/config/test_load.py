"""Files and words to settings: order of merging, bare keys, and what an error says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from annotated_types import Gt
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from heedful.config import TrainConfig, dump_yaml, load, load_train, read_yaml, settings_model
from heedful.types import UserError

BASE = ("model=m", "data=d.jsonl")


def dpo(pairs: Any, *, beta: Annotated[float, Gt(0)] = 0.1, smoothing: float = 0.0, alpha: float | None = None) -> None:
    """A stand-in.

    beta: larger stays closer.
    """


def kto(singles: Any, *, beta: float = 0.2, desirable_weight: float = 1.0) -> None:
    """Another."""


def find(name: str) -> Any:
    return {"dpo": dpo, "kto": kto}[name]


def settings(*words: str, files: tuple[Path, ...] = (), objective: str | None = "dpo") -> TrainConfig:
    return load_train(files, words, find=find, objective=objective)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# ---- merging


def test_later_files_win_key_by_key_and_words_win_over_files(tmp_path: Path) -> None:
    task = write(tmp_path / "task.yaml", "model: m\ndata: [a.jsonl, b.jsonl]\nlr: 1e-4\nlora: {r: 4, alpha: 8}\n")
    method = write(tmp_path / "method.yaml", "objective: {name: dpo, beta: 0.5}\nlr: 2e-4\nlora: {alpha: 1}\n")
    config = settings("lora.targets=[q_proj]", "lr=3e-4", files=(task, method))
    assert config.data == ["a.jsonl", "b.jsonl"]
    assert config.lr == 3e-4
    assert config.lora is not None
    assert (config.lora.r, config.lora.alpha, config.lora.targets) == (4, 1.0, ["q_proj"])
    assert config.objective.settings == {"beta": 0.5, "smoothing": 0.0, "alpha": None}


def test_a_list_replaces_a_list_and_null_replaces_a_mapping(tmp_path: Path) -> None:
    task = write(tmp_path / "task.yaml", "model: m\ndata: [a, b]\nlora: {r: 4}\n")
    config = settings("data=[c]", "lora=null", files=(task,))
    assert config.data == ["c"]
    assert config.lora is None


def test_another_objective_starts_its_settings_afresh(tmp_path: Path) -> None:
    first = write(tmp_path / "first.yaml", "objective: {name: dpo, beta: 0.7}\nmodel: m\ndata: d\n")
    second = write(tmp_path / "second.yaml", "objective: kto\n")
    config = settings(files=(first, second), objective=None)
    assert config.objective.name == "kto"
    assert config.objective.settings["beta"] == 0.2


def test_the_command_and_a_file_must_name_the_same_objective(tmp_path: Path) -> None:
    file = write(tmp_path / "kto.yaml", "model: m\nobjective:\n  name: kto\n")
    with pytest.raises(UserError, match=r"asks for dpo, but .*kto\.yaml line 3 is for objective kto"):
        settings("data=d", files=(file,))


# ---- an objective's own settings


@pytest.mark.parametrize("word", ["beta=0.05", "objective.beta=0.05"])
def test_an_objectives_setting_is_given_dotted_or_bare(word: str) -> None:
    assert settings(*BASE, word).objective.settings["beta"] == 0.05


def test_a_bare_key_in_a_file_finds_its_home_too(tmp_path: Path) -> None:
    file = write(tmp_path / "f.yaml", "beta: 0.3\n")
    assert settings(*BASE, files=(file,)).objective.settings["beta"] == 0.3


def test_a_bare_key_with_two_homes_is_refused() -> None:
    with pytest.raises(UserError, match=r"alpha .* write objective\.alpha or lora\.alpha"):
        settings(*BASE, "alpha=1")


def test_a_bare_and_a_dotted_key_for_one_setting_are_refused() -> None:
    with pytest.raises(UserError, match="same setting"):
        settings(*BASE, "beta=1", "objective.beta=2")


@pytest.mark.parametrize(
    ("recipe", "mine", "word", "beta"),
    [
        ("objective: {beta: 0.1}\n", "", "beta=0.3", 0.3),
        ("objective: {beta: 0.1}\n", "beta: 0.2\n", "", 0.2),
        ("beta: 0.1\n", "objective: {beta: 0.2}\n", "", 0.2),
        ("beta: 0.1\n", "", "objective.beta=0.3", 0.3),
        ("beta: 0.1\n", "", "objective={beta: 0.3}", 0.3),
        ("objective: {beta: 0.1}\n", "beta: 0.2\n", "objective.beta=0.3", 0.3),
        ("objective: {beta: 0.1}\n", "beta: 0.2\n", "objective.smoothing=0.3", 0.2),
    ],
)
def test_of_a_bare_and_a_dotted_key_the_later_wins(
    recipe: str, mine: str, word: str, beta: float, tmp_path: Path
) -> None:
    files = write(tmp_path / "recipe.yaml", recipe), write(tmp_path / "mine.yaml", mine)
    config = settings(*BASE, *([word] if word else []), files=files)
    assert config.objective.settings["beta"] == beta


def test_a_bare_key_wins_in_other_sections_too(tmp_path: Path) -> None:
    file = write(tmp_path / "f.yaml", "lora: {r: 4, targets: [a]}\n")
    config = settings(*BASE, "r=8", files=(file,))
    assert config.lora is not None
    assert (config.lora.r, config.lora.targets) == (8, ["a"])


def test_a_bare_and_a_dotted_key_in_one_file_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "f.yaml", "beta: 0.1\nobjective: {beta: 0.2}\n")
    with pytest.raises(UserError, match="same setting"):
        settings(*BASE, files=(file,))


def test_the_resolved_settings_carry_the_objectives_defaults() -> None:
    assert settings(*BASE).objective.settings == {"beta": 0.1, "smoothing": 0.0, "alpha": None}


# ---- errors are sentences that name the key, the value and the place

MISTAKES = [
    ("lr=-1", r"^lr=-1\.0 \(the command line\): must be above 0 \[lr: peak learning rate"),
    ("lr=fast", r"^lr=fast .*must be a number"),
    ("lr=nan", r"^lr=nan .*must be \w"),
    ("epochs=inf", r"must be a finite number"),
    ("batch_size=3.5", r"^batch_size=3\.5 .*must be a whole number"),
    ("tokens_per_pack=lots", r"must be a whole number or auto"),
    ("device=gpu", r"must be auto, cpu, cuda or mps"),
    ("overwrite=maybe", r"must be true or false"),
    ("model=", r"^model= .*not empty"),
    ("lora=true", r"^lora=true .*must be a mapping"),
    ("lora.r=0", r"^lora\.r=0 .*must be above 0"),
    ("beta=0", r"^objective\.beta=0\.0 .*must be above 0 \[beta: larger stays closer\]"),
    ("beta=nan", r"^objective\.beta=nan .*must be above 0 \[beta"),
    ("betas=1,2", r"^betas=1\.0 .*must be below 1"),
    ("keep_best=eval/loss", r"min:eval/loss or max:eval/loss"),
    ("warmup=1.5", r"share of the steps below 1, or a whole number"),
    ("learning_rate=1", r"learning_rate .*not a setting; did you mean lr\?"),
    ("bacth_size=1", r"did you mean batch_size\?"),
    ("bta=1", r"did you mean beta\?"),
    ("objective.bet=1", r"^objective\.bet is not a setting; did you mean beta\?; objective has beta, smoothing"),
    ("lora.rank=1", r"^lora\.rank is not a setting.*lora has r, alpha"),
    ("--lr=1", r"without dashes, as lr=VALUE"),
    ("lr", r"settings are written key=value"),
    ("=3", r"not the name of a setting"),
    ("lora={r: 4", r"not YAML"),
    ("eval_every=5", r"eval_every needs an evaluation set"),
    ("max_prompt_length=1024", r"must be below max_length"),
    ("data=[]", r"must name a file"),
]


@pytest.mark.parametrize(("word", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence(word: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        settings(*BASE, word)
    assert "\n" not in str(caught.value)


FILE_MISTAKES = [
    ("model: m\nlr: -2\n", r"f\.yaml line 2\): must be above 0"),
    ("model: m\nlora:\n  r: x\n", r"^lora\.r=x \(.*f\.yaml line 3\)"),
    ("lr: 1\nlr: 2\n", r"f\.yaml line 2: lr is set twice"),
    ("lr: [1\n", r"f\.yaml line 2: this is not YAML"),
    ("- a\n", r"f\.yaml: holds a list"),
    ("model: m\nlearing_rate: 1\n", r"learing_rate \(.*f\.yaml line 2\) is not a setting; did you mean"),
]


@pytest.mark.parametrize(("text", "sentence"), FILE_MISTAKES)
def test_a_mistake_in_a_file_names_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        settings("data=d", files=(write(tmp_path / "f.yaml", text),))


def test_a_missing_setting_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model is missing: write model=VALUE"):
        settings("data=d")
    with pytest.raises(UserError, match=r"nowhere\.yaml: there is no such file"):
        settings(*BASE, files=(tmp_path / "nowhere.yaml",))
    with pytest.raises(UserError, match="no objective is named"):
        settings(*BASE, objective=None)


# ---- writing and reading back


def test_a_dump_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    config = settings(
        *BASE, "beta=0.05", "lora.targets=[q_proj]", "betas=0.9,0.95", "optimizer_args={momentum: 0.9, name: '1'}",
        "track_tags=[no, 12:30, '1e-5']", "track_name=null", "template={human_prefix: \"\\n\\nHuman: \"}", "warmup=10",
    )  # fmt: skip
    file = write(tmp_path / "config.yaml", dump_yaml(config))
    assert load_train([file], find=find) == config


@pytest.mark.parametrize(
    "text", ["a\x85b", "a\u2028b", "a\r\nb", "\ufeffa", "\t", "# no", "a: b", "'", "- a", "&a", "%"]
)
def test_awkward_text_survives_writing_and_reading(tmp_path: Path, text: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(dump_yaml({"key": text, text: 1}), encoding="utf-8", newline="")
    assert read_yaml(file) == {"key": text, text: 1}


class Anything(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    maybe: str | None
    either: str | list[str]
    number: float
    open: dict[str, Any]


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(
    st.text(),
    st.none() | st.text(),
    st.text() | st.lists(st.text()),
    st.floats(allow_nan=False),
    st.dictionaries(st.text(), scalars),
)
def test_any_settings_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, text: str, maybe: str | None, either: Any, number: float, values: dict
) -> None:
    saved = Anything(text=text, maybe=maybe, either=either, number=number, open=values)
    path = tmp_path_factory.mktemp("dump") / "s.yaml"
    path.write_text(dump_yaml(saved), encoding="utf-8", newline="")
    assert load(Anything, [path]) == saved


def test_read_yaml_without_a_schema_follows_the_core_rules(tmp_path: Path) -> None:
    file = write(tmp_path / "f.yaml", "a: 1e-5\nb: no\nc: 12:30\nd: '1'\ne: [true, null]\n")
    assert read_yaml(file) == {"a": 1e-5, "b": "no", "c": "12:30", "d": "1", "e": [True, None]}


# ---- the schema


def test_every_setting_says_what_it_does() -> None:
    for model in (TrainConfig, settings_model(dpo)):
        for name, field in model.model_fields.items():
            assert field.description or name in ("smoothing", "alpha"), name


def test_the_run_folder_is_named_by_what_runs() -> None:
    assert settings(*BASE).out == "runs/dpo-m"
    config = TrainConfig.model_validate({"objective": "lab/my.py:my_loss", "model": "org/Model-1B@main", "data": "d"})
    assert config.out == "runs/my_loss-Model-1B-main"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings(*BASE).lr = 1.0  # type: ignore[misc]
