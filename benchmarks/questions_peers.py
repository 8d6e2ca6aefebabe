"""What other tools take for the same texts. Run by questions.py in an environment of the peers' own.

    python questions_peers.py PEER ROWS.parquet LIMIT FOLDER

Prints a JSON object: seconds, rows, and the dropped row numbers where the peer says which. Each peer is used as its
documentation does it for bulk work. The candidates of rensa and datasketch are verified with rapidfuzz, as ours are.
"""

import json
import sys
import time
from pathlib import Path

import polars as pl

_RATIO = 90


def shingles(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))]


def verified(texts: list[str], pairs: list[tuple[int, int]]) -> list[int]:
    """The later row of each pair that is similar enough."""
    import numpy as np
    from rapidfuzz import fuzz, process

    ratios = process.cpdist(
        [texts[a] for a, _ in pairs],
        [texts[b] for _, b in pairs],
        scorer=fuzz.ratio,
        score_cutoff=_RATIO,
        dtype=np.float64,
        workers=-1,
    )
    return sorted({later for (_, later), ratio in zip(pairs, ratios, strict=True) if ratio >= _RATIO})


def duckdb_exact(file: str, limit: int, folder: str) -> dict[str, object]:
    import duckdb

    connection = duckdb.connect()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        connection.execute(
            "CREATE OR REPLACE TABLE repeats AS SELECT min(id) AS kept, list(id) AS ids FROM "
            f"read_parquet('{file}') GROUP BY trim(question) HAVING count(*) > 1"
        )
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds)}


def rensa_fuzzy(file: str, limit: int, folder: str) -> dict[str, object]:
    from rensa import RMinHash, RMinHashLSH

    texts = pl.read_parquet(file)["question"].head(limit).to_list()
    start = time.perf_counter()
    hashes = RMinHash.from_token_sets((shingles(text) for text in texts), num_perm=128, seed=42)
    index = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16)
    index.insert_pairs(list(enumerate(hashes)))
    found = index.query_all(hashes)
    pairs = [(other, number) for number, others in enumerate(found) for other in set(others) if other < number]
    dropped = verified(texts, pairs)
    return {"seconds": time.perf_counter() - start, "dropped": dropped}


def datasketch_fuzzy(file: str, limit: int, folder: str) -> dict[str, object]:
    from datasketch import MinHash, MinHashLSH

    texts = pl.read_parquet(file)["question"].head(limit).to_list()
    start = time.perf_counter()
    hashes = MinHash.bulk([[s.encode() for s in shingles(text)] for text in texts], num_perm=128)
    index = MinHashLSH(threshold=0.8, num_perm=128)
    pairs = []
    for number, one in enumerate(hashes):
        pairs += [(other, number) for other in index.query(one)]
        index.insert(number, one)
    dropped = verified(texts, pairs)
    return {"seconds": time.perf_counter() - start, "dropped": dropped}


def datatrove_fuzzy(file: str, limit: int, folder: str) -> dict[str, object]:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.text import TextNormConfig

    work = Path(folder)
    rows = pl.read_parquet(file).head(limit).with_row_index("row")
    (work / "input").mkdir()
    half = -(-rows.height // 2)
    for part in range(2):
        chosen = rows.slice(part * half, half).select(pl.col("row").cast(pl.String).alias("id"), text="question")
        chosen.write_ndjson(work / "input" / f"{part}.jsonl")
    # Its default turns every number into the same word, and merges problems that differ only in numbers.
    config = MinhashConfig(
        n_grams=5, num_buckets=14, hashes_per_bucket=8, norm_config=TextNormConfig(norm_numbers=False)
    )
    at = {name: str(work / name) for name in ("input", "signatures", "buckets", "clusters", "output")}
    reader = JsonlReader(at["input"])
    stages = [
        ([reader, MinhashDedupSignature(output_folder=at["signatures"], config=config)], 2),
        ([MinhashDedupBuckets(input_folder=at["signatures"], output_folder=at["buckets"], config=config)], 14),
        ([MinhashDedupCluster(input_folder=at["buckets"], output_folder=at["clusters"], config=config)], 1),
        ([reader, MinhashDedupFilter(input_folder=at["clusters"]), JsonlWriter(at["output"], compression=None)], 2),
    ]
    start = time.perf_counter()
    for number, (pipeline, tasks) in enumerate(stages):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=2, logging_dir=str(work / f"logs{number}")).run()
    seconds = time.perf_counter() - start
    kept = {
        int(json.loads(line)["id"])
        for out in sorted((work / "output").glob("*.jsonl"))
        for line in out.read_text().splitlines()
    }
    return {"seconds": seconds, "dropped": sorted(set(range(rows.height)) - kept)}


if __name__ == "__main__":
    peer, file, limit, folder = sys.argv[1:]
    result = globals()[peer](file, int(limit), folder)
    print(json.dumps(result))
