"""A recipe's mistakes come all at once, each with file, field, value and remedy."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from openthoughts_dagster.recipe import Recipe, RecipeError, Selection, identity_of, load_recipe, shipped_recipes
from openthoughts_dagster.recipe.docs_tables import models_of, reference
from openthoughts_dagster.recipe.domains import misspelt_domains, unknown_samples
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.recipe.overrides import overridden_settings

BAD = """
name: my recipe
sources:
  - {name: "a/b", domain: math, reader: files, path: x.jsonl}
  - {name: "c,d", domain: math, reader: files, path: x.jsonl}
  - {name: "e[0]", domain: math, reader: files, path: x.jsonl}
  - {name: twice, domain: math, reader: files, path: x.jsonl, colums: 3}
  - {name: twice, domain: math, reader: fils, path: x.jsonl}
  - name: filters
    domain: math
    reader: files
    path: x.jsonl
    where: [{column: a, equals: 1, at_least: 2}, {column: b}, {column: c, matches: "("}]
    columns: {part: "no group"}
    rewrite: {judge: nobody, prompt: question_from_text_v1}
  - {name: pages, domain: math, reader: pdf, path: x.pdf, judge: none, pages: 2, overlap: 2}
scores:
  - {name: d, method: difficulty, judge: nobody, prompt: p.md, attempts: none}
domains:
  math: {selection: {by: nothing, count: 0}}
teachers:
  - {name: t, model: m, sampling: {top_p: 1.5}}
  - {name: "u|v", model: m, base_url: "http://x"}
student: {name: s, model: "${HOME}", preset: huge}
evaluation: {benchmarks: []}
"""


def _write(folder: Path, text: str) -> str:
    (folder / "recipe.yaml").write_text(text)
    return str(folder)


def _error(folder: Path, text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(_write(folder, text), {})
    return str(caught.value)


def test_every_mistake_is_reported_at_once_with_file_field_value_and_remedy(tmp_path: Path) -> None:
    lines = _error(tmp_path, BAD).splitlines()

    assert all(line.startswith(f"{tmp_path / 'recipe.yaml'}: ") for line in lines)
    for expected in (
        "name: use only letters, digits, '-' and '_'",
        "got 'my recipe'",
        "description: is missing; add it",
        "sources.a/b.name: use only letters",
        "sources.c,d.name: use only letters",
        "sources.e[0].name: use only letters",
        "sources.twice.colums: is not a setting here; did you mean 'columns'?",
        "sources.twice.reader: must be one of hugging_face, files, stack_exchange, pdf, procedural, got 'fils'",
        "sources: the name 'twice' is given 2 times",
        "sources.filters.where.0: needs exactly one of equals, one_of, matches, at_least, at_most, got equals and at_",
        "sources.filters.where.1: needs exactly one of equals, one_of, matches, at_least, at_most, got none",
        "sources.filters.where.2.matches: is no regular expression",
        "sources.filters.columns.part: has no group; put parentheses around what the question is, got 'no group'",
        "sources.filters.rewrite.judge: no judge is called 'nobody'",
        "sources.pages.overlap: must be below pages (2), got 2",
        "sources.pages.judge: no judge is called 'none'",
        "scores.d.attempts: must be a whole number, got 'none'",
        "scores.d.judge: no judge is called 'nobody'; the recipe has no judges: add it",
        "domains.math.selection.count: must be above 0, got 0",
        "domains.math.selection.by: questions of this domain have no score 'nothing'; there are d",
        "teachers.t.sampling.top_p: must be at most 1, got 1.5",
        "teachers.u|v.name: use only letters",
        "teachers.u|v.base_url: is for engine openai",
        "student.model: only ${OPENTHOUGHTS_...} variables are replaced",
        "student.preset: must be one of tiny, micro, 1k, small, medium, large, got 'huge'",
        "evaluation.benchmarks: needs at least one entry",
    ):
        assert any(expected in line for line in lines), expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: a\nname: b\n", "the key 'name' is given twice"),
        ("- a\n- b\n", "a recipe is a mapping of names to settings, got a list"),
        ("", "got an empty file"),
        ("name: [\n", "not YAML that can be read"),
        ("name: ${OPENTHOUGHTS_VAR_NOWHERE}\n", "the environment variable OPENTHOUGHTS_VAR_NOWHERE is not set"),
    ],
)
def test_a_file_that_is_no_recipe_says_why(tmp_path: Path, text: str, says: str) -> None:
    assert says in _error(tmp_path, text)


def test_an_unknown_name_lists_the_shipped_recipes() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'nope'.*\(openthoughts3, quickstart\)"):
        load_recipe("nope")


def test_the_shipped_recipes_load_and_a_copied_folder_loads_by_path(tmp_path: Path) -> None:
    assert shipped_recipes() == ["openthoughts3", "quickstart"]
    load_recipe("openthoughts3", {})
    copy = shutil.copytree(SHIPPED / "quickstart", tmp_path / "mine")
    recipe = load_recipe(str(copy), {"OPENTHOUGHTS_DATA": "/data"})
    assert recipe.folder == copy and recipe.teacher("worked").model == "/data/tiny_models/worked"
    assert recipe.path("shop_sums.jsonl") == str(copy / "shop_sums.jsonl")


_REST = """
name: r
description: d
teachers: [{name: t, model: m}]
student: {name: s, model: m, preset: small}
evaluation: {benchmarks: [{name: b, kind: file, path: b.jsonl}]}
"""


def test_a_catalogue_in_files_of_its_own_gives_sources_by_name(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(
        "- {name: one, domain: math, reader: files, path: 1.jsonl}\n"
        "- {name: two, domain: math, reader: files, path: 2.jsonl}\n"
    )
    own = "{name: own, domain: math, reader: files, path: o.jsonl}"
    text = f"{_REST}catalogue: [{{include: more.yaml}}]\nsources: [two, {own}]\n"
    recipe = load_recipe(_write(tmp_path, text), {})
    assert [source.name for source in recipe.sources] == ["two", "own"]
    assert [source.name for source in recipe.catalogue] == ["one", "two"]


def test_mistakes_in_an_included_file_are_said_once_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(
        "- {name: one, domain: math, reader: files, pth: 1.jsonl}\n"
        "- {name: one, domain: math, reader: files, path: '${OPENTHOUGHTS_VAR_X}'}\n"
    )
    catalogue = "[{include: more.yaml}, {include: no.yaml}, {include: recipe.yaml}, {include: more.yaml, name: x}]"
    error = _error(tmp_path, f"{_REST}catalogue: {catalogue}\nsources: [one, ones]\n")
    more, recipe = tmp_path / "more.yaml", tmp_path / "recipe.yaml"
    for expected in (
        f"{recipe}: catalogue.1.include: no file at {tmp_path / 'no.yaml'}",
        f"{recipe}: catalogue.2.include: {recipe} has to be a list, each entry after '- ', got a dict",
        f"{recipe}: catalogue.3.include: an entry that includes a file is '- include: other.yaml' and no more",
        f"{recipe}: sources: the catalogue has no source 'ones'; did you mean 'one'?",
        f"{recipe}: catalogue: the name 'one' is given 2 times",
        f"{more}: catalogue.one.path: the environment variable OPENTHOUGHTS_VAR_X is not set",
        f"{more}: catalogue.one.pth: is not a setting here; did you mean 'path'?",
        f"{more}: catalogue.one.path: is missing",
    ):
        assert error.count(expected) == 1, (expected, error)
    assert "sources.one" not in error


_SCORED = f"""{_REST}
judges: [{{name: j, model: m}}]
sources: [{{name: s, domain: math, reader: files, path: s.jsonl}}]
"""


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("prompt: slots.md", "scores.d.prompt: the prompt slots.md has {answr} in it, which nothing fills in; did you"),
        ("prompt: empty.md", "scores.d.prompt: the prompt empty.md has no {question} in it"),
        ("method: response_length, judge: null", "scores.d.judge: is missing; name the judge that answers, or set"),
        ("method: response_length, of: source", "scores.d.judge: is not asked with `of: source`"),
        ("method: response_length, of: source, judge: null, unit: tokens", "scores.d.tokenizer: is missing"),
        (
            "method: response_length, unit: words, tokenizer: m",
            "scores.d.tokenizer: counts tokens, and `unit` is words",
        ),
    ],
)
def test_scores_that_could_not_be_given_are_found_with_the_recipe(tmp_path: Path, settings: str, says: str) -> None:
    (tmp_path / "slots.md").write_text("Rate {question}, whose answer is {answr}.")
    (tmp_path / "empty.md").write_text("Rate it.")
    score = yaml.safe_load(f"{{name: d, method: difficulty, judge: j, {settings}}}")
    assert says in _error(tmp_path, f"{_SCORED}scores: [{json.dumps(score)}]\n")


def test_latex_and_json_in_a_prompt_are_no_slots(tmp_path: Path) -> None:
    text = 'Rate {question} ({answer?}) as {"difficulty": 1}, also \\frac{a}{b}, x_{i}, \\sqrt[3]{x} and {{name}}.'
    (tmp_path / "p.md").write_text(text)
    load_recipe(_write(tmp_path, f"{_SCORED}scores: [{{name: d, method: difficulty, judge: j, prompt: p.md}}]\n"), {})


@pytest.mark.parametrize(
    ("domains", "settings", "misspelt"),
    [
        (["math", "math", "maths"], "{}", ["maths"]),
        (["math", "maht", "Math"], "{math: {}}", ["Math", "maht"]),
        (["maths", "maths", "math"], "{math: {}}", ["maths"]),
        (["math", "maths"], "{math: {}, maths: {}}", []),
        (["level-1", "level-2", "code", "core-science", "law", "lab"], "{}", []),
        (["physics", "psychics"], "{}", []),
    ],
)
def test_a_domain_that_is_spelled_nearly_as_another_is_named(
    tmp_path: Path, domains: list[str], settings: str, misspelt: list[str]
) -> None:
    sources = [{"name": f"s{n}", "domain": d, "reader": "files", "path": "s.jsonl"} for n, d in enumerate(domains)]
    recipe = load_recipe(_write(tmp_path, f"{_REST}sources: {json.dumps(sources)}\ndomains: {settings}\n"), {})
    found = misspelt_domains(recipe)
    assert [line.partition("the domain ")[2].partition(" of s")[0] for line in found] == [repr(d) for d in misspelt]
    assert all("the recipe's domains are " in line for line in found)


def test_a_sample_of_no_source_of_the_domain_is_named(tmp_path: Path) -> None:
    domains = {"a-sums": "math", "b": "law"}
    sources = [{"name": n, "domain": d, "reader": "files", "path": "s.jsonl"} for n, d in domains.items()]
    rest = f"{_REST}sources: {json.dumps(sources)}\ndomains: "
    error = _error(tmp_path, rest + "{math: {downsample: {b: 3, asums: 4}}}\n")
    assert "domains.math.downsample.b: the domain of this source is law; move its size there" in error
    assert "domains.math.downsample.asums: no source has this name; did you mean 'a-sums'?" in error
    recipe = load_recipe(_write(tmp_path, rest + "{math: {downsample: {a-sums: 3, landed: 4}}}\n"), {})
    [told] = unknown_samples(recipe)
    assert told.startswith("domains.math.downsample.landed: the recipe has no source of this name")


def test_a_parameter_of_a_server_that_takes_the_place_of_a_setting_is_named(tmp_path: Path) -> None:
    extra = "{temperature: 0.2, top_p: 1.0, seed: 0, cap: 5, effort: high}"
    served = f"engine: openai, base_url: http://h/v1, parameters: {{rename: {{max_tokens: cap}}, extra: {extra}}}"
    teacher = f"teachers: [{{name: t, model: m, sampling: {{max_tokens: 100}}, {served}}}]\n"
    sources = "sources: [{name: s, domain: math, reader: files, path: s.jsonl}]\n"
    rest = "".join(line for line in _REST.splitlines(keepends=True) if "teachers" not in line)
    recipe = load_recipe(_write(tmp_path, f"{rest}{teacher}{sources}"), {})
    found = overridden_settings(recipe)
    begins = "teachers.t.parameters.extra"
    assert [line.partition(": set")[0] for line in found] == [
        f"{begins}.temperature: 0.2 is sent in place of sampling.temperature (1.0)",
        f"{begins}.seed: 0 is sent in place of sampling.seed (0), so that all samples of a prompt share their random "
        "numbers",
        f"{begins}.cap: 5 is sent in place of sampling.max_tokens (100)",
    ]


def test_ranges_of_a_selection_name_scores_and_have_an_end(tmp_path: Path) -> None:
    score = "scores: [{name: r, method: random}]\n"
    for within, says in (
        ("{q: {minimum: 1}}", "domains.math.selection.within: questions of this domain have no score 'q'"),
        ("{r: {}}", "domains.math.selection.within.r: needs a minimum, a maximum, or both"),
        (
            "{r: {minimum: 3, maximum: 2}}",
            "selection.within.r.minimum: must be at most maximum (2), got 3",
        ),
    ):
        selection = f"{{by: r, count: 3, within: {within}}}"
        assert says in _error(tmp_path, f"{_SCORED}{score}domains: {{math: {{selection: {selection}}}}}\n")
    assert identity_of(Selection(by="r", count=3)) == {"by": "r", "count": 3, "refill": False}


def test_openthoughts3_has_the_papers_numbers() -> None:
    recipe = load_recipe("openthoughts3", {})
    assert recipe.answers_per_question == 16 and recipe.answer_filter.method == "none"
    counts = {d: (s.selection.count, s.selection.copies) for d, s in recipe.domains.items() if s.selection}
    assert counts == {"math": (180000, "each"), "code": (30000, "once"), "science": (30000, "each")}
    sampled = {d: sum(s.downsample.values()) for d, s in recipe.domains.items()}
    assert sampled == {"math": 53125, "code": 15625, "science": 6250}
    assert {name for s in recipe.domains.values() for name in s.downsample} == {s.name for s in recipe.sources}
    assert all(source.limit is None for source in recipe.sources)
    assert {d: s.dedup.method for d, s in recipe.domains.items()} == {
        "math": "exact",
        "code": "none",
        "science": "exact",
    }
    assert (recipe.decontamination.ngram, recipe.decontamination.similarity) == (13, 75)
    [teacher] = recipe.teachers
    assert (teacher.model, teacher.sampling.temperature, teacher.system_prompt) == ("Qwen/QwQ-32B", 1.0, None)
    student = recipe.student
    assert (student.model, student.rows) == ("Qwen/Qwen2.5-7B-Instruct", 31600)
    assert (student.settings().global_batch_size, student.settings().learning_rate) == (128, 4e-5)
    assert (recipe.evaluation.sampling.temperature, recipe.evaluation.sampling.max_tokens) == (0.7, 32768)


def test_every_field_of_a_recipe_is_described() -> None:
    def undescribed(models: Iterator[type[BaseModel]]) -> list[str]:
        return [f"{m.__name__}.{name}" for m in models for name, f in m.model_fields.items() if not f.description]

    assert undescribed(iter(models_of(Recipe))) == []


def test_the_reference_in_the_docs_is_up_to_date() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    assert docs.partition("docs_tables -->\n")[2].strip() == reference().strip(), (
        "docs/recipes.md: replace what follows the marker by `python -m openthoughts_dagster.recipe.docs_tables`"
    )
