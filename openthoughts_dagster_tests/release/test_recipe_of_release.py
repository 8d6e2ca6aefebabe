"""Releases as data: everything that is wrong with one is said with the recipe, at once."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from openthoughts_dagster.cli.doctor import _release
from openthoughts_dagster.recipe import HuggingFaceSource, RecipeError, load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.recipe.release import fields_of_card
from openthoughts_dagster.release.foresight import foresee_release_problems
from openthoughts_dagster.release.readme import _datasets

RELEASE: dict[str, Any] = {
    "name": "sums",
    "title": "Sums",
    "licence": "apache-2.0",
    "sources": ["two-digit-sums", "shop-sums"],
}


def _load(folder: Path, **changes: Any) -> Any:
    document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text()) | {"release": RELEASE | changes}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(folder)}).release


def test_every_mistake_of_a_release_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("# {title}\n{rowz} and {{kept}} and $\\frac{a}{b}$ and \\boxed{x}\n")
    with pytest.raises(RecipeError) as caught:
        _load(
            tmp_path,
            sources=["two-digit-sum", "shop-sums", "shop-sums"],
            licence="Apache 2",
            sizes={"math": 5, "shop-sums": 3, "law": 2, "letter-counts": 1},
            shard_bytes="many",
            card="card.md",
            dedup={"against": ["x.parquet"]},
            student={"epoch": 3},
            gates={"licences": ["MIT", "none"], "waive": [{"source": "lost", "gate": "licence", "reason": "because"}]},
            hub={"repository": "no owner", "token_variable": "hf_abc"},
        )
    text = str(caught.value)
    for expected in (
        "release.sources: the recipe has no source 'two-digit-sum'; did you mean 'two-digit-sums'",
        "release.sources: 'shop-sums' is named 2 times",
        "release.licence: must be an SPDX licence expression",
        "release.sizes: 'shop-sums' has a size, and so has its domain 'math'",
        "release.sizes.law: is neither a source of the release nor a domain of one",
        "release.sizes.letter-counts: is no source of the release",
        "release.shard_bytes: must be a size such as 256MB or 1GB, got 'many'",
        "release.card: card.md has the field {rowz}",
        "release.dedup.against: is written as release.against",
        "release.student.epoch: is not a setting of a student",
        "release.gates.licences.1: must be an SPDX licence expression",
        "release.gates.waive: 'lost' is no source of the release",
        "release.hub.repository: must be owner/name",
        "release.hub.token_variable: must be the name of an environment variable",
    ):
        assert expected in text, expected
    assert "kept" not in text and "boxed" not in text
    assert "hf_abc" not in text  # a token that was written there by mistake is not repeated


def test_what_would_stop_or_shorten_it_is_foreseen_from_the_recipe() -> None:
    said = foresee_release_problems(load_recipe("openthoughts3", {}))
    assert said[0].startswith("the licence gate stops openmath-2-math: its licence is unknown; find out under which")
    short = [line for line in said if line.startswith("release.sizes.")]
    assert [line.split()[0] for line in short] == [f"release.sizes.{name}" for name in ("math", "code", "science")]
    assert "asks for 15,625 questions, and `domains` and limits leave at most 15,625 of opencodereasoning" in short[1]
    assert all("is made short all the same (short: true)" in line for line in short) and len(said) == 4
    assert [finding.says for finding in _release(load_recipe("openthoughts3", {}))] == said
    quickstart = load_recipe("quickstart", {"OPENTHOUGHTS_DATA": "data"})
    assert foresee_release_problems(quickstart) == []


def test_all_data_sets_of_a_source_are_named_and_no_folder_of_a_machine(tmp_path: Path) -> None:
    parts = [{"dataset": "c/d"}, {"dataset": str(tmp_path)}, {"dataset": "a/b", "subset": "x"}]
    source = {"name": "s", "domain": "math", "reader": "hugging_face", "dataset": "a/b", "more": parts}
    named = HuggingFaceSource.model_validate(source | {"columns": {"question": "q"}})
    assert _datasets(load_recipe("openthoughts3", {}), [named]) == ["a/b", "c/d"]


def test_a_domain_that_no_source_has_and_a_card_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        _load(tmp_path, sources={"best": 1, "domains": ["maths"]}, card="lost.md")
    assert "release.sources.domains: no source has the domain 'maths'; did you mean 'math'" in str(caught.value)
    assert "lost.md cannot be read" in str(caught.value)


def test_a_release_is_read_with_its_defaults(tmp_path: Path) -> None:
    release = _load(tmp_path, sizes={"math": 10}, shard_bytes="2MB")
    assert release.licence == "Apache-2.0" and release.allowed_licences == ["Apache-2.0"]
    assert (release.shard_size, release.short, release.hub) == (2_000_000, False, None)
    assert fields_of_card("{title} {{no}} {title} {version}") == ["title", "version"]
