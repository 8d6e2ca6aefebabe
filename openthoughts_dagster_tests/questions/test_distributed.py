"""On a local Ray cluster with two workers the same pairs and leaks are found as on one machine."""

import json
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from openthoughts_dagster.questions import Texts, curate, distributed, find_leaks
from openthoughts_dagster.questions.matching.similar import find_similar_pairs
from openthoughts_dagster.recipe import Decontamination, Dedup, DomainQuestions
from openthoughts_dagster_tests.questions.test_engine import corpus

pytest.importorskip("daft", reason="Daft is not installed: pip install 'openthoughts-dagster[distributed]'")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import daft
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=str(tmp_path_factory.mktemp("ray")))
    daft.context.set_runner_ray(noop_if_initialized=True)
    yield
    ray.shutdown()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense:port"])
def test_a_cluster_that_does_not_answer_is_named(address: str) -> None:
    with pytest.raises(distributed.RayError, match=f"no Ray cluster answers at {address}"):
        distributed.connect(address)


@pytest.mark.faults
def test_a_cluster_finds_what_one_machine_finds(cluster: None) -> None:
    import daft

    texts = list(dict.fromkeys(corpus(4, 1_500, 4, 40)))
    rows = daft.from_pydict({"position": list(range(len(texts))), "question": texts}).into_partitions(4)
    here, there = find_similar_pairs(Texts.of(pl.Series(texts)), 85), distributed.similar_pairs(rows, 85, chunk=200)
    order = np.lexsort((here.others, here.ones))
    assert len(here.ones) > 100
    assert (here.ones[order] == there.ones).all() and (here.others[order] == there.others).all()
    assert (here.ratios[order] == there.ratios).all()

    known = texts[::50]
    benchmarks = pl.DataFrame({"benchmark": ["b"] * len(known), "question": known})
    whole = Texts.of(pl.Series(texts))
    alone = find_leaks(whole, Decontamination(), benchmarks).decisions
    together = distributed.leaks(rows, Decontamination(), benchmarks, whole, chunk=200).decisions
    assert len(alone) > len(known) and list(alone) == list(together)
    assert all(dict(together[at].evidence) == json.loads(json.dumps(dict(why.evidence))) for at, why in alone.items())


@pytest.mark.faults
def test_a_source_is_curated_on_a_cluster_as_on_one_machine(cluster: None) -> None:
    texts = corpus(5, 1_200, 4, 40)
    rows = {"question_id": [f"{at:04}" for at in range(len(texts))], "question": texts, "scores": "{}"}
    scored = pl.DataFrame(rows).with_columns(pl.lit("s").alias("source"), pl.lit("{}").alias("origin"))
    benchmarks = pl.DataFrame({"benchmark": ["b"] * 20, "question": texts[::60]})
    settings = DomainQuestions(dedup=Dedup(method="fuzzy", same_numbers=False))

    here = curate(scored, settings, Decontamination(), benchmarks)
    there = curate(scored, settings, Decontamination(), benchmarks, ray="auto")

    assert here.funnel == there.funnel and here.funnel["deduplicated"] < here.funnel["decontaminated"]
    assert here.rejected.equals(there.rejected) and here.instructions == there.instructions
