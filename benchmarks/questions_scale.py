"""How much memory and time a source of many questions takes through selection, dedup and decontamination.

    .venv/bin/python benchmarks/questions_scale.py [--rows 10000000] [--json FILE] [--keep FOLDER]

Writes a source of made-up questions to a Delta table, part by part, and curates it in a process of its own: select 90%,
decontaminate against 5,000 benchmark questions, deduplicate with fuzzy similarity, write both tables. Its peak of
resident memory is the figure.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from questions_corpus import questions

from openthoughts_dagster.lake import DEDUPED_QUESTIONS, REJECTED_QUESTIONS, SCORED_QUESTIONS, Lake, text_hashes
from openthoughts_dagster.questions import curate
from openthoughts_dagster.recipe import Decontamination, Dedup, DomainQuestions, Selection

_PART = 250_000


def write(lake: Lake, rows: int) -> None:
    """A source of `rows` scored questions."""
    for part in range(-(-rows // _PART)):
        texts = questions(min(_PART, rows - part * _PART), part).rows["question"]
        frame = pl.DataFrame(
            {
                "source": ["big"] * len(texts),
                "question_id": text_hashes([str(part)], [f"{row} {text}" for row, text in enumerate(texts)], []),
                "domain": ["math"] * len(texts),
                "question": texts,
                "reference_answer": pl.Series([None] * len(texts), dtype=pl.String),
                "licence": ["Apache-2.0"] * len(texts),
                "origin": [json.dumps({"part": part, "row": row}) for row in range(len(texts))],
                "metadata": ["{}"] * len(texts),
                "scores": [json.dumps({"length": len(text)}) for text in texts],
            }
        )
        lake.append(SCORED_QUESTIONS, frame)


def curated(root: str, rows: int) -> None:
    """Curate the source in `root` and print what it took, as JSON."""
    lake, start = Lake(root), time.monotonic()
    known = questions(5_000, 12_345_678, planted=0).rows["question"]
    benchmarks = pl.DataFrame({"benchmark": ["made-up"] * 5_000, "question": known})
    settings = DomainQuestions(
        selection=Selection(by="length", count=max(1, rows * 9 // 10)), dedup=Dedup(method="fuzzy", same_numbers=False)
    )
    result = curate(lake.scan(SCORED_QUESTIONS, source="big"), settings, Decontamination(), benchmarks)
    decided = time.monotonic() - start
    rejected = lake.replace_batches(
        REJECTED_QUESTIONS, result.rejected_batches, source="big", stage="deduped_questions"
    )
    kept = lake.replace_batches(DEDUPED_QUESTIONS, result.kept_batches, source="big")
    assert kept + rejected == rows, (kept, rejected, rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"peak": peak, "decided": decided, "seconds": time.monotonic() - start, "funnel": result.funnel}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--keep", type=Path, help="keep the source in this folder, and use it when it is there")
    parser.add_argument("--curate", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.curate:
        return curated(options.curate, options.rows)
    with tempfile.TemporaryDirectory() as folder:
        root = options.keep or Path(folder)
        if not (root / SCORED_QUESTIONS.name).is_dir():
            write(Lake(root), options.rows)
        command = [sys.executable, __file__, "--curate", str(root), "--rows", str(options.rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    took = json.loads(done.stdout.splitlines()[-1])
    figures = [
        {"name": "scale_rows", "value": options.rows, "unit": "questions", "goal": 10_000_000},
        {"name": "scale_peak_memory", "value": round(took["peak"], 2), "unit": "GiB", "goal": 8},
        {"name": "scale_decisions", "value": round(took["decided"]), "unit": "s", "goal": None},
        {"name": "scale_with_writing", "value": round(took["seconds"]), "unit": "s", "goal": None},
    ]
    print(f"{'figure':<28}{'value':>14}  unit")
    for figure in figures:
        print(f"{figure['name']:<28}{figure['value']:>14,}  {figure['unit']}")
    print("funnel:", ", ".join(f"{step} {rows:,}" for step, rows in took["funnel"].items()))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return None


if __name__ == "__main__":
    main()
