"""Which answers a student trains on."""

import polars as pl

from openthoughts_dagster.generation.reasoning import join_reasoning
from openthoughts_dagster.lake import text_hash


def sample_rows(answers: pl.DataFrame, count: int, seed: int, repeat: bool) -> pl.DataFrame:
    """`count` rows with columns question_id, sample_index, question and text, in a seeded order.

    `answers` has question_id, sample_index, question, reasoning and answer. The order comes from a hash of the seed
    and the row's identity, so it does not depend on the order in which answers arrived, and a larger `count` begins
    with the same rows. With `repeat`, a source with fewer rows is gone through again until there are `count`: the
    paper's comparisons hold the size equal by that (OpenThoughts, arXiv 2506.04178, section 3).
    """
    order = [text_hash(str(seed), row[0], str(row[1])) for row in answers.select("question_id", "sample_index").rows()]
    texts = [join_reasoning(*row) for row in answers.select("reasoning", "answer").rows()]
    rows = (
        answers.select("question_id", "sample_index", "question")
        .with_columns(pl.Series("text", texts, dtype=pl.String), pl.Series("order", order, dtype=pl.String))
        .sort("order")
        .drop("order")
    )
    if repeat and 0 < rows.height < count:
        rows = pl.concat([rows] * -(-count // rows.height))
    return rows.head(count)
