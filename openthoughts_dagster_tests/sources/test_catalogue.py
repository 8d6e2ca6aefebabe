"""Every source of the paper is a block that reads the columns its dataset has."""

import gzip
import json
from pathlib import Path

import pytest

from openthoughts_dagster.recipe import (
    FilesSource,
    HubPart,
    HuggingFaceSource,
    PdfSource,
    Source,
    StackExchangeSource,
    TableSource,
    load_recipe,
)
from openthoughts_dagster.recipe.lock import CONVERTED
from openthoughts_dagster.sources import prompts
from openthoughts_dagster.sources.prompts import shipped_prompts
from openthoughts_dagster_tests.sources.catalogue_rows import ROWS
from openthoughts_dagster_tests.sources.dumps import ANSWERS, QUESTION, posts_xml, write_dump
from openthoughts_dagster_tests.sources.helpers import read
from openthoughts_dagster_tests.sources.hub import write_converted, write_dataset

RECIPE = load_recipe("openthoughts3", {})
OF_THE_PAPER = {source.name: source for source in RECIPE.catalogue if source.paper is not None}


def test_the_catalogue_has_the_papers_62_sources_and_what_it_found() -> None:
    counts = {domain: sum(s.domain == domain for s in OF_THE_PAPER.values()) for domain in ("code", "math", "science")}
    assert counts == {"code": 27, "math": 21, "science": 14}
    papers = {name: source.paper for name, source in OF_THE_PAPER.items() if source.paper}
    for domain, mixed in (("code", 16), ("math", 16), ("science", 13)):
        of_domain = [paper for name, paper in papers.items() if OF_THE_PAPER[name].domain == domain]
        assert sorted(p.mix_rank for p in of_domain if p.mix_rank) == list(range(1, mixed + 1))
        assert sorted(p.rank for p in of_domain if p.rank) == [1, 2, 3, len(of_domain)]
    assert (papers["sql-create-context"].average, papers["stackexchange-physics"].math) == (21.6, 50.9)
    assert "14th" in (papers["kaggle-science-exam"].unverified or "")


def test_only_the_sources_of_the_release_are_partitions() -> None:
    assert {source.name: (source.domain, source.limit) for source in RECIPE.sources} == {
        "openmath-2-math": ("math", None),
        "opencodereasoning": ("code", None),
        "stackexchange-codegolf": ("code", None),
        "stackexchange-physics": ("science", None),
        "organic-chemistry": ("science", None),
    }
    assert all(source in RECIPE.catalogue for source in RECIPE.sources)


def test_every_prompt_that_the_catalogue_names_is_shipped() -> None:
    named = {s.rewrite.prompt for s in RECIPE.catalogue if isinstance(s, TableSource) and s.rewrite}
    for source in RECIPE.catalogue:
        if isinstance(source, PdfSource):
            named |= {str(source.extract_prompt), str(source.refine_prompt), str(source.filter_prompt)}
    assert named < set(shipped_prompts())


def test_prompts_that_ask_for_latex_in_json_say_how_it_is_written() -> None:
    newest = {name.rpartition("_v")[0]: name for name in shipped_prompts()}  # sorted, so that later versions win
    texts = [(Path(prompts.__file__).parent / f"{name}.md").read_text() for name in newest.values()]
    asking = [text for text in texts if "LaTeX" in text]
    assert len(asking) == 3 and all('a backslash is written twice, as in "$\\\\frac{1}{2}$"' in text for text in asking)


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_a_source_of_the_paper_reads_through_its_mapping(name: str, tmp_path: Path) -> None:
    source = OF_THE_PAPER[name]
    if isinstance(source, StackExchangeSource):
        dump = write_dump(tmp_path / "site.7z", posts_xml(QUESTION, *ANSWERS))
        got = read(tmp_path, source.model_copy(update={"path": str(dump)}))
        assert got.texts[0].startswith("Why is $E = mc^2$?\n\nI see `E = m*c**2`")
        assert got.questions["reference_answer"][0] == "From the *four*-momentum."
        assert json.loads(got.questions["metadata"][0])["licence"] == "CC BY-SA 3.0"
        return
    row, question, answer = ROWS[name]
    parts = _write(tmp_path, source, row)
    # What a judge writes from the rows is tested where it is asked.
    got = read(tmp_path, source.model_copy(update={"rewrite": None}), copies=tmp_path / "copies")
    assert got.rejected.is_empty() and got.texts == [question] * parts
    assert got.questions["reference_answer"].to_list() == [answer] * parts
    assert (got.questions["licence"][0], got.questions["domain"][0]) == (source.licence, source.domain)
    wanted = source.columns.metadata if isinstance(source, TableSource) else None
    metadata = json.loads(got.questions["metadata"][0])
    assert metadata == ({key: row[key] for key in wanted} if wanted is not None else {}), "columns kept"


def _write(folder: Path, source: Source, row: dict[str, object]) -> int:
    """Lay a fixture where the source looks; how many datasets and subsets it has."""
    if isinstance(source, FilesSource):
        path = folder / source.path
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(json.dumps(row).encode()))
        return 1
    assert isinstance(source, HuggingFaceSource)
    parts = 0
    first = HubPart(dataset=source.dataset, subset=source.subset, revision=source.revision)
    for part in (first, *source.more):
        for subset in part.subset if isinstance(part.subset, list) else [part.subset]:
            parts += 1
            if part.revision == CONVERTED:
                write_converted(folder / "copies", part.dataset, [row], subset or "default")
            else:
                write_dataset(folder / "copies", part.dataset, [row], subset, part.split or source.split)
    return parts
