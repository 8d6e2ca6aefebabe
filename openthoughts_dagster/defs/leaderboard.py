"""Rankings for people, in the UI and on the terminal: rounded, and each number with its error."""

import polars as pl

from openthoughts_dagster.studies import p_value

NOTHING_COMMON = "no benchmark item that all of them were scored on"


def leaderboard_rows(ranking: pl.DataFrame, by: str) -> pl.DataFrame:
    """Format a ranking for people.

    Args:
        ranking: Rows of source_ranking or teacher_ranking.
        by: The column of the competitors: source or teacher.

    Returns:
        One row of texts for each competitor, the best first.
    """
    rows = ranking.sort("rank", by, nulls_last=True).iter_rows(named=True)
    shown = [
        {
            "rank": row["rank"],
            by: row[by],
            "score": None if row["score"] is None else f"{row['score']:.1%}",
            "± s.e.": None if row["standard_error"] is None else f"{row['standard_error']:.1%}",
            "untrained": None if row["score"] is None else f"{row['score'] - row['gain_over_untrained']:.1%}",
            "next below": NOTHING_COMMON if row["score"] is None else _lead(row),
            "p": None if row["p_value"] is None else p_value(row["p_value"]).removeprefix("= "),
        }
        for row in rows
    ]
    texts = dict.fromkeys((by, "score", "± s.e.", "untrained", "next below", "p"), pl.String)
    return pl.DataFrame(shown, schema={"rank": pl.Int64, **texts})


def _lead(row: dict[str, float | None]) -> str | None:
    if row["difference_to_next"] is None:
        return None
    difference, error = row["difference_to_next"], row["difference_standard_error"]
    return f"+{difference:.1%}" + ("" if error is None else f" ± {error:.1%}")
