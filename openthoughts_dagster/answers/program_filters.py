"""Drops answers whose program fails the tests of its question."""

import polars as pl

from openthoughts_dagster.answers.filter_context import QUESTION, ROW, AnswerToTest, FilterContext, ProgramVerdict

_DROPPED = {"source": pl.String, "question_id": pl.String, "sample_index": pl.Int32}


def drop_failing_programs(seconds: float, context: FilterContext) -> pl.DataFrame:
    """Return the answers whose program fails a test, or whose question has no tests.

    Args:
        seconds: The longest time of one test.
        context: The answers, the questions with their tests, and what runs programs.

    Raises:
        ValueError: No question has tests, so that every answer would be dropped.
    """
    tests, dropped, reasons = context.tests(), list[tuple[str, str, int, str, str]](), set[str | None]()
    for page in context.texts():
        rows = page.join(tests, on=QUESTION, how="left", maintain_order="left").to_dicts()
        whole = [row for row in rows if row["outcome"] != "unfinished"]
        asked = [
            AnswerToTest(
                row["answer"] or "",
                row["raw_question"] or row["question"] or "",
                row["reference_answer"],
                row["metadata"] or "",
            )
            for row in whole
        ]
        found = dict(zip(map(_name, whole), context.tools.run_tests(asked, seconds), strict=True))
        reasons |= {verdict.reason for verdict in found.values()}
        for row in rows:
            verdict = found.get(_name(row)) or ProgramVerdict("not_verified", "it is cut off")
            if verdict.reason is not None:
                dropped.append((*_name(row), verdict.reason, verdict.evidence))
    if reasons == {"no_tests"}:
        sources = ", ".join(sorted(context.answers["source"].unique()))
        raise ValueError(
            f"answer_filter verified with match: tests: no question of {sources} has tests ({dropped[0][-1]}). The "
            "reference answer or the metadata has to hold entry_point and test as HumanEval has them, or tests: a list "
            "of input and output. Read those columns of the source, or verify by another match"
        )
    return pl.DataFrame(dropped, schema=_DROPPED | {"reason": pl.String, "evidence": pl.String}, orient="row")


def _name(row: dict[str, object]) -> tuple[str, str, int]:
    source, question, sample = (row[name] for name in ROW)
    return str(source), str(question), int(str(sample))
