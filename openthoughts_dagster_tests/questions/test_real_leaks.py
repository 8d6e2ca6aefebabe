"""GSM8K and HumanEval as two sources, with questions of GSM8K's test set planted into what is trained on."""

import json
from pathlib import Path

import polars as pl

from openthoughts_dagster.lake import DEDUPED_QUESTIONS, REJECTED_QUESTIONS, SCORED_QUESTIONS, Lake, text_hash
from openthoughts_dagster.questions import curate
from openthoughts_dagster.recipe import Decontamination, Dedup, DomainQuestions

DATA = Path(__file__).parent / "data"
GSM8K = DATA.parents[1] / "e2e" / "data" / "gsm8k_sample.jsonl"


def _read(file: Path, column: str) -> list[str]:
    return [json.loads(line)[column] for line in file.read_text().splitlines()]


def _scored(source: str, questions: list[str]) -> pl.DataFrame:
    rows = [
        {
            "source": source,
            "question_id": text_hash(source, str(number), text),
            "domain": "math",
            "question": text,
            "reference_answer": None,
            "licence": "MIT",
            "origin": json.dumps({"row": number}),
            "metadata": "{}",
            "scores": "{}",
        }
        for number, text in enumerate(questions)
    ]
    return pl.DataFrame(rows, schema=SCORED_QUESTIONS.schema)


def test_every_planted_test_question_is_found_and_nothing_else_is(lake: Lake) -> None:
    train, test = _read(GSM8K, "question"), _read(DATA / "gsm8k_test_sample.jsonl", "question")
    code = _read(DATA / "humaneval_sample.jsonl", "prompt")
    planted = [
        *test[:10],
        *(f"Solve this, please: {text} Show your work." for text in test[10:20]),
        *(text.replace("How many", "Tell me how many").replace(" the ", " a ") for text in test[20:30]),
    ]
    lake.append(SCORED_QUESTIONS, _scored("gsm8k", train + planted))
    lake.append(SCORED_QUESTIONS, _scored("humaneval", [*code, f"{code[0]}\n\n{test[33]}"]))
    benchmarks = pl.DataFrame({"benchmark": ["gsm8k"] * len(test), "split": ["test"] * len(test), "question": test})

    for source, leaks in (("gsm8k", planted), ("humaneval", [f"{code[0]}\n\n{test[33]}"])):
        scored = lake.scan(SCORED_QUESTIONS, source=source)
        curated = curate(scored, DomainQuestions(dedup=Dedup(method="fuzzy")), Decontamination(), benchmarks)
        rejected = lake.replace_batches(
            REJECTED_QUESTIONS, curated.rejected_batches, source=source, stage="deduped_questions"
        )
        kept = lake.replace_batches(DEDUPED_QUESTIONS, curated.kept_batches, source=source)

        gone = lake.scan(REJECTED_QUESTIONS, source=source).collect()
        found = gone.filter(pl.col("reason").str.starts_with("benchmark"))
        assert set(found["question"]) == set(leaks)
        assert kept + rejected == scored.collect().height
        evidence = [json.loads(row) for row in found["evidence"]]
        assert all(why["benchmark"] == "gsm8k" and why["split"] == "test" and why["text"] in test for why in evidence)
        again = curate(lake.scan(DEDUPED_QUESTIONS, source=source), DomainQuestions(), Decontamination(), benchmarks)
        assert again.rejected.is_empty()
