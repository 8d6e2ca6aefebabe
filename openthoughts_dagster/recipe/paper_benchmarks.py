"""The twelve benchmarks of the OpenThoughts3 paper: their data sets, items and prompts.

The number of items and the prompts are those of evalchemy, with which the paper was evaluated. No commit is pinned
here: none could be looked up when this was written, so `revision` is UNVERIFIED for all of them. Pin one in the recipe.
"""

from dataclasses import dataclass
from typing import Literal

PaperTask = Literal[
    "aime24",
    "aime25",
    "amc23",
    "hmmt-2025-02",
    "math500",
    "gpqa-diamond",
    "jeebench",
    "hle-multiple-choice",
    "livecodebench-2305-2405",
    "livecodebench-2406-2501",
    "codeelo",
    "codeforces",
]


@dataclass(frozen=True)
class PaperData:
    """The data set and the prompts of a benchmark of the paper.

    Attributes:
        family: The module of `evaluation/paper` that asks and judges it.
        dataset: Its id on the hub.
        subset: The data set's subset; None for its only one.
        split: The split that has the items.
        question: Names of the column of questions; the first one that the data set has is used.
        items: The number of items. Any other number is another benchmark and is refused.
        prompts: Prompts with their scoring: the paper's, and lighteval's own where it has one.
    """

    family: Literal["math", "choice", "code"]
    dataset: str
    split: str
    items: int
    question: tuple[str, ...] = ("question",)
    subset: str | None = None
    prompts: tuple[str, ...] = ("paper",)


_BOTH = ("paper", "lighteval")
_PROBLEM = ("problem", "question")

PAPER_BENCHMARKS: dict[PaperTask, PaperData] = {
    # evalchemy reads a file of its own, made of zwhe99/aime24; the 30 problems are the same.
    "aime24": PaperData("math", "HuggingFaceH4/aime_2024", "train", 30, _PROBLEM, prompts=_BOTH),
    "aime25": PaperData("math", "yentinglin/aime_2025", "train", 30, _PROBLEM, prompts=_BOTH),
    # UNVERIFIED: names of columns and split; evalchemy names the data set and reads a file of its own.
    "amc23": PaperData("math", "zwhe99/amc23", "test", 40, _PROBLEM, prompts=_BOTH),
    "hmmt-2025-02": PaperData("math", "MathArena/hmmt_feb_2025", "train", 30, _PROBLEM, prompts=_BOTH),
    "math500": PaperData("math", "HuggingFaceH4/MATH-500", "test", 500, _PROBLEM, prompts=_BOTH),
    "gpqa-diamond": PaperData("choice", "Idavidrein/gpqa", "train", 198, ("Question",), "gpqa_diamond", _BOTH),
    "jeebench": PaperData("choice", "daman1209arora/jeebench", "test", 515),
    "hle-multiple-choice": PaperData("choice", "cais/hle", "test", 512),
    # release_v2 is 05/2023 to 05/2024. UNVERIFIED: its 511 items; release_v5 has 880, and the next row 369 of them.
    "livecodebench-2305-2405": PaperData(
        "code", "lighteval/code_generation_lite", "test", 511, ("question_content",), "release_v2", _BOTH
    ),
    "livecodebench-2406-2501": PaperData(
        "code", "mlfoundations-dev/LCBv5-v2", "test", 369, ("question_content",), prompts=_BOTH
    ),
    "codeelo": PaperData("code", "Qwen/CodeElo", "test", 391, ("description",)),
    "codeforces": PaperData("code", "open-r1/codeforces", "test", 453, ("description",)),
}
