"""Dedup and decontamination side by side with peers, on one corpus with planted duplicates and leaks.

    .venv/bin/python benchmarks/questions.py [--rows 1000000] [--json FILE]

The peers run in an environment that the script makes in a temporary folder. Ours runs once on a few rows first, so that
compiling (once per machine) is not timed. Tools that would take hours get the first rows only, and their rate counts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from questions_corpus import Corpus, leaks, problems, questions, with_patterns
from questions_words import OTHER_SENTENCES
from rapidfuzz import fuzz, process

from openthoughts_dagster.questions.decontaminate import find_leaks
from openthoughts_dagster.questions.matching.duplicates import Duplicates, find_duplicates
from openthoughts_dagster.questions.matching.texts import Texts
from openthoughts_dagster.recipe import Decontamination, Dedup

_PEERS = ["rensa==0.5.0", "duckdb==2.0.0", "datasketch==2.0.0", "datatrove[io,processing]==0.10.1", "spacy"]
_SLOW_ROWS = 20_000
_BENCHMARK, _LEAK_ROWS, _TIMED_ROWS = 5_000, 20_000, 200_000
_PAPER = Decontamination(ngram=None, similarity=75)
_EXACT = Decontamination(normalize=False, common_share=None)
_FUZZY = Dedup(method="fuzzy", similarity=90, same_numbers=False)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of wall time, and what `work` returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def peers(folder: Path) -> Callable[[str, Path, int], dict[str, Any]]:
    """An environment with the peers, and a function that runs one of them."""
    venv.create(folder / "env", with_pip=True)
    python = str(folder / "env" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "polars", "rapidfuzz", *_PEERS]
    subprocess.run(pip, check=True, stdout=sys.stderr)

    def run(peer: str, file: Path, limit: int) -> dict[str, Any]:
        work = folder / peer
        work.mkdir()
        command = [python, str(Path(__file__).with_name("questions_peers.py")), peer, str(file), str(limit), str(work)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{peer} failed:\n{done.stderr[-2000:]}")
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    return run


def dedup(file: Path, method: Dedup) -> Duplicates:
    """Read the corpus and find its duplicates: the first row of each group stays."""
    texts = Texts.of(pl.read_parquet(file, columns=["question"])["question"])
    return find_duplicates(texts, np.arange(len(texts)), method)


def recall_of(dropped: Sequence[int], corpus: Corpus, limit: int) -> float:
    """Share of the planted copies (ratio 90 or more) among the first `limit` rows that were dropped."""
    planted = corpus.planted.filter((pl.col("ratio") >= 90) & (pl.col("id") < limit))["id"]
    return float(planted.is_in(pl.Series(list(dropped), dtype=pl.Int64).implode()).mean())  # type: ignore[arg-type]


def false_drops(found: Duplicates, corpus: Corpus) -> int:
    """Drops whose two texts are not similar, by rapidfuzz on the texts alone."""
    texts = corpus.rows["question"]
    one, other = texts.gather(found.positions).to_list(), texts.gather(found.of).to_list()
    ratios = process.cpdist(one, other, scorer=fuzz.ratio, dtype=np.float64, workers=-1)
    return int(((ratios < 90) & ~found.exact).sum())


def ngram_set_rate(texts: list[str], known: list[str]) -> float:
    """Questions per second of a plain set of 13 words in a row."""
    start = time.perf_counter()
    runs = {tuple(words[at : at + 13]) for words in map(str.split, known) for at in range(len(words) - 12)}
    hits = 0
    for text in texts:
        words = text.split()
        hits += any(tuple(words[at : at + 13]) in runs for at in range(len(words) - 12))
    return len(texts) / (time.perf_counter() - start)


def dedup_figures(rows: int, folder: Path) -> list[dict[str, Any]]:
    """Exact and fuzzy dedup beside the peers."""
    corpus, file = questions(rows, seed=1), folder / "corpus.parquet"
    corpus.rows.write_parquet(file)
    run, slow = peers(folder), min(rows, _SLOW_ROWS)
    few = corpus.rows["question"].head(1_000)
    few = few.append(few)  # with equal texts, which take another way through the compiled loops
    find_duplicates(Texts.of(few), np.arange(len(few)), _FUZZY)
    exact = min(timed(lambda: dedup(file, Dedup(method="exact")))[0] for _ in range(3))
    duck = run("duckdb_exact", file, rows)["seconds"]
    fuzzy, found = timed(lambda: dedup(file, _FUZZY))
    rensa, trove = run("rensa_fuzzy", file, rows), run("datatrove_fuzzy", file, slow)
    sketch = run("datasketch_fuzzy", file, slow)
    rate, trove_rate = rows / fuzzy, slow / trove["seconds"]
    return [
        *problem_figures(rows, rate),
        figure("exact_rows_per_second", rows / exact, "rows/s"),
        figure("exact_duckdb_rows_per_second", rows / duck, "rows/s"),
        figure("exact_over_duckdb", duck / exact, "x", 1),
        figure("fuzzy_rows_per_second", rate, "rows/s"),
        figure("fuzzy_rensa_rows_per_second", rows / rensa["seconds"], "rows/s"),
        figure("fuzzy_datatrove_rows_per_second", trove_rate, f"rows/s on {slow:,}"),
        figure("fuzzy_datasketch_rows_per_second", slow / sketch["seconds"], f"rows/s on {slow:,}"),
        figure("fuzzy_over_rensa", rensa["seconds"] / fuzzy, "x", 3),
        figure("fuzzy_over_datatrove", rate / trove_rate, "x", 100),
        figure("fuzzy_recall", recall_of(found.positions.tolist(), corpus, rows), "share of planted", 0.99),
        figure("fuzzy_false_drops", false_drops(found, corpus), "rows", 0),
        figure("fuzzy_recall_rensa", recall_of(rensa["dropped"], corpus, rows), "share of planted"),
        figure("fuzzy_recall_datatrove", recall_of(trove["dropped"], corpus, slow), "share of planted"),
        figure("fuzzy_recall_datasketch", recall_of(sketch["dropped"], corpus, slow), "share of planted"),
    ]


def problem_figures(rows: int, paper_rate: float) -> list[dict[str, Any]]:
    """The default rule, which judges what differs, on duplicates and as many look-alikes."""
    (corpus, others), rule = problems(rows, seed=5), Dedup(method="fuzzy", similarity=90)
    texts = Texts.of(corpus.rows["question"])
    find_duplicates(Texts.of(corpus.rows["question"].head(1_000)), np.arange(min(rows, 1_000)), rule)
    paper, _ = timed(lambda: find_duplicates(texts, np.arange(rows), _FUZZY))
    seconds, found = timed(lambda: find_duplicates(texts, np.arange(rows), rule))
    dropped = found.positions.tolist()
    wrong = len(others.intersection(dropped))
    return [
        figure("fuzzy_differences_rows_per_second", rows / seconds, "rows/s, the default rule"),
        figure("fuzzy_differences_over_ratio_alone", paper / seconds, "x, on the same corpus", 0.8),
        figure("fuzzy_differences_precision", 1 - wrong / max(1, len(dropped)), f"{len(others):,} look-alikes", 1),
        figure("fuzzy_differences_recall", recall_of(dropped, corpus, rows), "share of planted", 0.99),
    ]


def decontamination_figures(rows: int, timed_rows: int) -> list[dict[str, Any]]:
    """Decontamination beside brute force, which says what is right."""
    known = questions(_BENCHMARK, seed=2, planted=0).rows["question"]
    corpus = leaks(rows, known.to_list(), seed=3)
    benchmarks = pl.DataFrame({"benchmark": ["made-up"] * len(known), "question": known})
    texts, listed = Texts.of(corpus.rows["question"]), corpus.rows["question"].to_list()
    both = Decontamination()
    find_leaks(Texts.of(corpus.rows["question"].head(100)), both, benchmarks)
    seconds, found = timed(lambda: find_leaks(texts, _PAPER, benchmarks))
    many = Texts.of(leaks(timed_rows, known.to_list(), seed=4).rows["question"])
    seconds_both, _ = timed(lambda: find_leaks(many, both, benchmarks))
    brute, right = timed(lambda: find_leaks(texts, _PAPER.model_copy(update={"brute_force": True}), benchmarks))
    planted = set(corpus.planted.filter(pl.col("ratio") >= 75)["id"])
    patterns = pl.DataFrame({"benchmark": ["made-up"] * _BENCHMARK, "question": with_patterns(_BENCHMARK, seed=6)})
    others = Texts.of(pl.Series(with_patterns(rows, 7, OTHER_SENTENCES)))  # no sentence of a benchmark question
    false = len(find_leaks(others, both, patterns).decisions)
    exact = len(find_leaks(others, _EXACT, patterns).decisions)
    ours, truth = set(found.decisions), set(right.decisions)
    return [
        figure(
            "decontamination_questions_per_second",
            timed_rows / seconds_both,
            f"of {timed_rows:,}, index and both rules",
            20_000,
        ),
        figure("decontamination_similarity_only", rows / seconds, f"questions/s of {rows:,}, index included"),
        figure("decontamination_brute_force", rows / brute, "questions/s"),
        figure("decontamination_ngram_set", ngram_set_rate(listed, known.to_list()), "questions/s, 13 words only"),
        figure("decontamination_recall", len(ours & truth) / len(truth), f"of {len(truth):,} by brute force", 0.999),
        figure("decontamination_recall_planted", len(ours & planted) / len(planted), f"of {len(planted):,} planted"),
        figure("decontamination_pattern_drops", false, f"of {rows:,} with instructions, tables, code", 0),
        figure("decontamination_pattern_drops_exact", exact, "questions, by the paper's rule"),
        figure("decontamination_false_drops", len(ours - truth), "questions", 0),
    ]


def figure(name: str, value: float, unit: str, goal: float | None = None) -> dict[str, Any]:
    """One line of the table."""
    return {"name": name, "value": round(float(value), 4), "unit": unit, "goal": goal}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="questions to deduplicate")
    parser.add_argument("--leak-rows", type=int, default=_LEAK_ROWS, help="questions to decontaminate")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = dedup_figures(options.rows, Path(folder)) + decontamination_figures(
            options.leak_rows, min(options.rows, _TIMED_ROWS)
        )
    print(f"{'figure':<40}{'value':>16}{'goal':>10}  unit")
    for one in figures:
        goal = "" if one["goal"] is None else f"{one['goal']:g}"
        print(f"{one['name']:<40}{one['value']:>16,.4g}{goal:>10}  {one['unit']}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
