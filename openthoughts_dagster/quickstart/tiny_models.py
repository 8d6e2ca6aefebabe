"""The quickstart's models, trained from random weights: a student, two teachers and a judge.

One teacher writes its steps before the answer, and the other one answers directly.
"""

import ast
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from openthoughts_dagster.quickstart.lessons import (
    ALL_FAMILIES,
    Lesson,
    direct_lesson,
    family_lessons,
    judge_lesson,
    school_lessons,
    worked_lesson,
)
from openthoughts_dagster.quickstart.problems import SHOP_SUMS, Problem, problems_of
from openthoughts_dagster.quickstart.tokenizer import save_tokenizer, train_tokenizer
from openthoughts_dagster.quickstart.training_loop import Course, Log, share_right, train

STATISTICS = "training.json"
_EARLIER = Path(__file__).with_name("earlier_fingerprints.json")

# Qwen3 and not Qwen2, because AutoTokenizer replaces the tokenizer of every qwen2 checkpoint by Qwen's own rules.
# A head size of 32 is the smallest that vLLM's attention supports on CPUs.
ARCHITECTURE: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    # With larger initial weights and a smaller rope_theta a model of this size learns to copy several times sooner.
    "initializer_range": 0.06,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
}

COURSES = {
    "student": Course(steps=600, learning_rate=2e-3),
    "worked": Course(steps=500, learning_rate=2e-3),
    "direct": Course(steps=400, learning_rate=2e-3),
    "judge": Course(steps=150, learning_rate=2e-3),
}

# Arithmetic needs the most practice, and the benchmark asks for it.
SHARES = {"chain_sum": 4, SHOP_SUMS: 2, "spell_backward": 1, "letter_counting": 1}
EVEN_SHARES = dict.fromkeys(ALL_FAMILIES, 1)


@dataclass(frozen=True)
class TinyModel:
    """A checkpoint folder, and how it was made.

    `accuracy` is the share of held-out problems whose final answer is exactly right, or of the judge whose difficulty
    is right, as the mean over the families in `accuracy_by_family`. `losses` are pairs (step, loss).
    """

    name: str
    path: Path
    parameters: int
    steps: int
    seconds: float
    accuracy: float
    accuracy_by_family: dict[str, float]
    losses: list[tuple[int, float]]


def build_tiny_models(
    folder: Path,
    log: Log,
    seed: int = 0,
    courses: Mapping[str, Course] = COURSES,
    exam: int = 100,
    *,
    finished: Callable[[TinyModel], None] | None = None,
) -> dict[str, TinyModel]:
    """Train the student, both teachers and the judge.

    A model that is in the folder already is kept if it was made with the same settings and the same code: comments
    and docstrings do not count. A folder that is there is complete, because it is renamed after it was written.

    Args:
        folder: Each model is in `folder/NAME`.
        log: Takes lines of progress.
        seed: Seed of the weights and the lessons.
        courses: The models to train, by name, and how long each is trained.
        exam: The number of held-out problems of each family that measure accuracy.
        finished: Called with each model as soon as it is there.

    Returns:
        The models by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    built: dict[str, TinyModel] = {}
    for name, course in courses.items():
        wanted = _fingerprint(seed, exam, course)
        existing = _read(folder / name, name, wanted)
        if existing:
            log(f"{name}: complete in {existing.path}")
        built[name] = existing or _build(folder, name, course, seed, exam, wanted, log)
        if finished is not None:
            finished(built[name])
    return built


def _build(folder: Path, name: str, course: Course, seed: int, exam: int, fingerprint: str, log: Log) -> TinyModel:
    import torch

    torch.manual_seed(seed)
    texts = (problem.question for family in ALL_FAMILIES for problem in problems_of(family, 500, 0))
    tokenizer = train_tokenizer(texts)
    model = _new_model(tokenizer)
    began = time.monotonic()
    trained = train(model, tokenizer, _lessons(name, seed + 1), course, name, log)
    by_family = {family: share_right(model, tokenizer, _exam(name, family, exam)) for family in ALL_FAMILIES}
    made = TinyModel(
        name=name,
        path=folder / name,
        parameters=model.num_parameters(),
        steps=course.steps,
        seconds=round(time.monotonic() - began, 1),
        accuracy=round(sum(by_family.values()) / len(by_family), 4),
        accuracy_by_family=by_family,
        losses=trained.losses,
    )
    _write(made, model, tokenizer, fingerprint)
    log(f"{name}: {made.parameters:,} parameters, {made.accuracy:.0%} right on held-out problems, {made.seconds:.0f} s")
    return made


def _new_model(tokenizer: Any) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokens = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), **tokens, **ARCHITECTURE))


def _lesson(name: str) -> Callable[[Problem], Lesson]:
    return {"direct": direct_lesson, "judge": judge_lesson}.get(name, worked_lesson)


def _lessons(name: str, seed: int) -> Iterator[Lesson]:
    if name == "student":
        return school_lessons(seed)
    return family_lessons(_lesson(name), seed, EVEN_SHARES if name == "judge" else SHARES)


def _exam(name: str, family: str, size: int) -> list[Lesson]:
    return list(islice(family_lessons(_lesson(name), 1_000, {family: 1}, held=True), size))


def _fingerprint(seed: int, exam: int, course: Course) -> str:
    """Hash everything that decides the weights: the settings, and the code of this package without its comments."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([seed, exam, asdict(course)]).encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(json.dumps(_code(ast.parse(module.read_text()))).encode())
    return digest.hexdigest()


def _code(node: Any) -> Any:
    """Return a syntax tree as JSON, without docstrings and empty fields, in which versions of Python differ."""
    if isinstance(node, list):
        return [_code(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, documented) and ast.get_docstring(node) is not None:
        fields["body"] = node.body[1:]
    return [type(node).__name__, {name: _code(value) for name, value in fields.items()}]


def _is_current(recorded: str, wanted: str) -> bool:
    """Say whether the recorded fingerprint is the wanted one, or what an earlier version recorded for equal weights.

    Until November 2026 fingerprints hashed the comments as well; models of the shipped settings are not trained again.
    """
    return recorded == wanted or recorded == json.loads(_EARLIER.read_text()).get(wanted)


def _read(path: Path, name: str, fingerprint: str) -> TinyModel | None:
    try:
        statistics = json.loads((path / STATISTICS).read_text())
    except FileNotFoundError:
        return None
    if not _is_current(statistics.pop("fingerprint"), fingerprint):
        return None
    statistics["losses"] = [(step, loss) for step, loss in statistics["losses"]]
    return TinyModel(name=name, path=path, **statistics)


def _write(made: TinyModel, model: Any, tokenizer: Any, fingerprint: str) -> None:
    """Write the checkpoint beside its place and rename it, so that a folder that is there is complete."""
    unfinished = made.path.with_name(f".{made.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished)
    save_tokenizer(tokenizer, unfinished)
    statistics = {key: value for key, value in asdict(made).items() if key not in ("name", "path")}
    (unfinished / STATISTICS).write_text(json.dumps({"fingerprint": fingerprint, **statistics}, indent=1))
    outdated = made.path.with_name(f".{made.name}.outdated")
    shutil.rmtree(outdated, ignore_errors=True)
    if made.path.exists():
        made.path.rename(outdated)
    unfinished.rename(made.path)
    shutil.rmtree(outdated, ignore_errors=True)
