"""A lighteval model that asks through the ledger: lighteval has tasks, prompts and metrics, the ledger the answers."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, NoReturn

from openthoughts_dagster.evaluation.errors import BenchmarkAnswersMissing
from openthoughts_dagster.generation.requests import FINISHED, Answer, AskModel, Prompt
from openthoughts_dagster.recipe import Sampling


class NoCache:
    """Replaces lighteval's cache of answers on disk.

    lighteval's cache identifies a model by its name and would return the answers of another checkpoint. Our cache is
    the ledger.
    """

    def _init_registry(self, _registry: Any) -> None:
        """lighteval's Pipeline calls this on every model's cache."""


def lighteval_model(ask: AskModel, model_name: str, sampling: Sampling, missing_allowed: float = 1.0) -> Any:
    """Make a `LightevalModel` that asks with `ask`; `model_name` and `sampling` are recorded in lighteval's files.

    A task's own generation_size and stop sequences are not used, because they are for answers without reasoning.
    After the run `.faults` counts, by (task, document id, 'failed', 'truncated' or 'blank'), the samples that ended
    so, and `.completions` names an item's samples in the ledger. Asking raises BenchmarkAnswersMissing when more than
    a share `missing_allowed` of a task's samples failed.
    """
    return _model_class()(ask, model_name, sampling, missing_allowed)


@cache
def _model_class() -> type[Any]:
    from lighteval.models.abstract_model import LightevalModel, ModelConfig
    from lighteval.models.model_input import GenerationParameters
    from lighteval.models.model_output import ModelResponse

    class AskingModel(LightevalModel):
        def __init__(self, ask: AskModel, model_name: str, sampling: Sampling, missing_allowed: float) -> None:
            parameters = GenerationParameters(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k or None,
                max_new_tokens=sampling.max_tokens,
                seed=max(sampling.seed, 0),
            )
            self.config = ModelConfig(model_name=model_name, generation_parameters=parameters)
            self.faults: Counter[tuple[str, str, str]] = Counter()
            self.completions: dict[tuple[str, str], list[tuple[str, str]]] = {}
            self._cache = NoCache()
            self._ask, self._missing_allowed = ask, missing_allowed

        def greedy_until(self, docs: list[Any]) -> list[Any]:
            prompts = [Prompt(user=user_text(doc), samples=doc.num_samples) for doc in docs]
            answered = self._ask(prompts)
            refuse_missing(docs, answered, self._missing_allowed)
            return [
                self._response(doc, prompt, answers)
                for doc, prompt, answers in zip(docs, prompts, answered, strict=True)
            ]

        def _response(self, doc: Any, prompt: Prompt, answers: Sequence[Answer]) -> Any:
            if len(answers) != prompt.samples:
                raise ValueError(f"{doc.task_name}: asked for {prompt.samples} samples, got {len(answers)}")
            self.completions[doc.task_name, doc.id] = [(answer.model, answer.completion_id) for answer in answers]
            for answer in answers:
                if answer.error is not None:
                    self.faults[doc.task_name, doc.id, "failed"] += 1
                    continue
                if answer.finish_reason not in FINISHED:
                    self.faults[doc.task_name, doc.id, "truncated"] += 1
                if not answer.answer.strip():
                    self.faults[doc.task_name, doc.id, "blank"] += 1
            return ModelResponse(
                input=prompt.user,
                text=["" if answer.error is not None else answer.answer for answer in answers],
                reasonings=[answer.reasoning for answer in answers],
            )

        def loglikelihood(self, docs: list[Any]) -> list[Any]:
            _refuse(docs, "log-likelihoods of given choices")

        def loglikelihood_rolling(self, docs: list[Any]) -> list[Any]:
            _refuse(docs, "the perplexity of given texts")

        @property
        def tokenizer(self) -> Any:
            raise NotImplementedError("prompts are rendered by our engines, not by lighteval")

        @property
        def add_special_tokens(self) -> bool:
            return False

        @property
        def max_length(self) -> int:
            return sampling_length(self.config)

    return AskingModel


def refuse_missing(docs: Sequence[Any], answered: Sequence[Sequence[Answer]], allowed: float) -> None:
    """Raise BenchmarkAnswersMissing if more than a share `allowed` of a task's samples failed."""
    failed: dict[str, Counter[str]] = {}
    samples: Counter[str] = Counter()
    for doc, answers in zip(docs, answered, strict=True):
        samples[doc.task_name] += len(answers)
        failed.setdefault(doc.task_name, Counter()).update(
            answer.error for answer in answers if answer.error is not None
        )
    problems = []
    for task, errors in failed.items():
        if errors.total() > allowed * samples[task]:
            why = "; ".join(f"{error} ({count:,} times)" for error, count in errors.most_common(3))
            name = task.partition("|")[0]
            problems.append(f"{name}: {errors.total():,} of {samples[task]:,} answers are missing. Why: {why}")
    if problems:
        raise BenchmarkAnswersMissing(
            "\n".join(problems)
            + f"\nThat is more than evaluation.missing_answers: {allowed:g} allows. Everything else "
            "is in the ledger: materialize again to ask only for these"
        )


def sampling_length(config: Any) -> int:
    """Return the longest completion in tokens; only the engine knows the longest prompt."""
    return int(config.generation_parameters.max_new_tokens)


def user_text(doc: Any) -> str:
    """Return the user message of a lighteval document: instruction and examples, if any, and the query."""
    from lighteval.tasks.prompt_manager import PromptManager

    if doc.images:
        raise NotImplementedError(f"{doc.task_name}: its questions have images, and our prompts are text")
    if doc.fewshot_samples:
        return str(PromptManager().prepare_prompt(doc))
    if doc.instruction and not doc.query.startswith(doc.instruction):
        return f"{doc.instruction.rstrip()}\n\n{doc.query}"
    return str(doc.query)


def _refuse(docs: Sequence[Any], what: str) -> NoReturn:
    tasks = ", ".join(sorted({doc.task_name for doc in docs}))
    raise NotImplementedError(
        f"{tasks}: lighteval scores this by {what}, and our engines only generate text; "
        "choose a generative task in the recipe's benchmarks"
    )
