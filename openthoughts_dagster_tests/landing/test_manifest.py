"""Manifests from people whom nobody reviewed: they read their own folder and the hub, and nothing else."""

import pytest

from openthoughts_dagster.landing.manifest import MOST_BYTES, ManifestError, read_manifest

GOOD = "{reader: files, domain: math, path: '*.jsonl', columns: {question: problem}}"


def test_a_manifest_is_a_source_of_a_recipe_that_reads_its_own_folder() -> None:
    source = read_manifest("gsm8k", GOOD.encode(), "/landing/gsm8k")
    assert (source.name, source.reader, source.domain) == ("gsm8k", "files", "math")
    assert source.path == "/landing/gsm8k/*.jsonl"  # type: ignore[union-attr]


def test_a_manifest_may_name_a_dataset_of_the_hub() -> None:
    text = b"{reader: hugging_face, domain: math, dataset: AI-MO/NuminaMath-CoT}"
    assert read_manifest("numina", text, "/landing/numina").reader == "hugging_face"


def _files(path: str) -> str:
    return f"{{reader: files, domain: math, path: {path!r}}}"


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
BAD = {
    "a prompt file of the machine": (
        "mine",
        "{reader: files, domain: math, path: a.jsonl, rewrite: {judge: j, prompt: /etc/passwd}}",
        "rewrite: this may be set only in a recipe",
    ),
    "a second dataset that is a folder": (
        "mine",
        "{reader: hugging_face, domain: math, dataset: a/b, more: [{dataset: /etc}]}",
        "more: this may be set only in a recipe",
    ),
    "a path above its folder": ("mine", _files("../other/secret.jsonl"), "in the source's own folder"),
    "a path that climbs out": ("mine", _files("data/../../x.jsonl"), "in the source's own folder"),
    "an absolute path": ("mine", _files("/etc/passwd"), "in the source's own folder"),
    "a file address": ("mine", _files("file:///etc/passwd"), "in the source's own folder"),
    "another store's address": ("mine", _files("s3://secret/x.jsonl"), "in the source's own folder"),
    "a chained address": ("mine", _files("zip::file:///etc/x.zip"), "in the source's own folder"),
    "a home folder": ("mine", _files("~/x.jsonl"), "in the source's own folder"),
    "a local folder for a hub dataset": (
        "mine",
        "{reader: hugging_face, domain: math, dataset: ../../etc}",
        "dataset: must be a dataset's id on the hub",
    ),
    "a YAML bomb": ("mine", BOMB, "anchors or aliases"),
    "a deep YAML": ("mine", "[" * 5000, "nested deeper"),
    "a large YAML": ("mine", "#" * (MOST_BYTES + 1), "larger than 64 KiB"),
    "a Python object": ("mine", "!!python/object/apply:os.system ['true']", "not YAML that can be read"),
    "no YAML": ("mine", "{reader: files", "not YAML that can be read"),
    "no mapping": ("mine", "- a\n- b\n", "a mapping of settings"),
    "nothing": ("mine", "", "a mapping of settings"),
    "a prompt file of its own": (
        "mine",
        "{reader: files, domain: math, path: x.jsonl, rewrite: {judge: judge, prompt: /etc/passwd}}",
        "rewrite: this may be set only in a recipe",
    ),
    "a judge that it pays": (
        "mine",
        "{reader: pdf, domain: math, path: '*.pdf', judge: judge, extract_prompt: /etc/passwd}",
        "judge, extract_prompt: this may be set only in a recipe",
    ),
    "further datasets from elsewhere": (
        "mine",
        "{reader: hugging_face, domain: math, dataset: a/b, more: [{dataset: ../../etc}]}",
        "more: this may be set only in a recipe",
    ),
    "an unknown setting": ("mine", "{reader: files, domain: math, path: x.jsonl, colums: {}}", "colums"),
    "no domain": ("mine", "{reader: files, path: x.jsonl}", "domain: Field required"),
    "an unknown reader": ("mine", "{reader: shell, domain: math}", "shell"),
    "another name than its folder's": ("mine", "{name: yours, " + GOOD[1:], "must be the folder's, 'mine'"),
    "a name with a separator": ("mine|x", GOOD, "becomes a partition key"),
    "a name with a comma": ("a,b", GOOD, "becomes a partition key"),
    "a name that is no name": ("..", GOOD, "becomes a partition key"),
}


@pytest.mark.parametrize(("name", "text", "says"), BAD.values(), ids=BAD)
def test_a_bad_manifest_is_refused_with_what_to_change(name: str, text: str, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        read_manifest(name, text.encode(), f"/landing/{name}")


def test_no_variable_of_the_environment_gets_into_a_landed_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_SECRET", "hunter2")
    source = read_manifest("mine", b"{reader: files, domain: math, path: '${OPENTHOUGHTS_SECRET}'}", "/landing/mine")
    assert "hunter2" not in source.model_dump_json()
