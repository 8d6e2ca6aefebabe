"""Makes the frozen lake of this folder: run with the code of November 2026 (commit 41495e7), see README.md."""

import argparse
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import dagster as dg
import yaml
from openthoughts_dagster.defs.demo import run_recipe

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.lake import COMPLETIONS, STUDENT_CHECKPOINTS, TABLES, Lake
from openthoughts_dagster.quickstart.problems import FAMILIES, problems_of
from openthoughts_dagster.quickstart.tokenizer import CHAT_TEMPLATE, save_tokenizer, train_tokenizer
from openthoughts_dagster.recipe import ModelReference, load_recipe

HERE = Path(__file__).parent
MODELS = ("student", "teacher")


def make_models(folder: Path) -> None:
    """Two models of a few thousand random weights: their answers are noise, and nothing else is fake."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = train_tokenizer([p.question for family in FAMILIES for p in problems_of(family, 100, 1)])
    tokenizer.chat_template = CHAT_TEMPLATE
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    for seed, name in enumerate(MODELS):
        torch.manual_seed(seed)
        Qwen3ForCausalLM(config).save_pretrained(folder / name)
        save_tokenizer(tokenizer, folder / name)


def land_a_source(landing: Path) -> None:
    """A source beside the recipe, complete."""
    folder = landing / "landed-sums"
    folder.mkdir(parents=True)
    questions = [{"question": f"What is {n} plus {n + 1}?", "answer": str(2 * n + 1)} for n in range(11, 14)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    manifest = {"reader": "files", "domain": "math", "licence": "Apache-2.0", "path": "questions.jsonl"}
    (folder / "source.yaml").write_text(yaml.safe_dump(manifest))
    (folder / "_SUCCESS").touch()


def make(data: Path) -> dict[str, Any]:
    """A lake with rows in every table, written by Dagster's runs; returns what it says of keys and students."""
    make_models(data / "models")
    land_a_source(data / "landing")
    shutil.copytree(HERE / "recipe", data / "recipe")
    settings = Settings(str(data / "recipe" / "recipe.yaml"), data, str(data / "lake"), landing=str(data / "landing"))
    recipe = load_recipe(settings.recipe, settings.variables())
    defs = build_definitions(recipe, settings)
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = run_recipe(defs, recipe, instance)
        assert not outcome.failed, outcome.failed
        context = dg.build_sensor_context(instance, definitions=defs)
        defs.get_sensor_def("source_landing_sensor")(context)
    lake = Lake(settings.lake)
    for table in TABLES.values():
        assert lake.scan(table).collect().height, table.name
    completions = lake.scan(COMPLETIONS).sort("asset", "source", "asked_as", "key", "sample_index")
    students = lake.scan(STUDENT_CHECKPOINTS).sort("source", "teacher").collect()
    models = {name: locate(ModelReference(name=name, model=str(data / "models" / name)), data) for name in MODELS}
    return {
        "root": str(data),
        "rows": {name: lake.scan(table).collect().height for name, table in TABLES.items()},
        "models": {name: {"id": m.identity.model_id, "revision": m.identity.revision} for name, m in models.items()},
        "completions": completions.select("asset", "source", "asked_as", "model", "key", "sample_index", "content")
        .collect()
        .to_dicts(),
        "students": [
            row | {"folder": f"students/{row['source']}/{row['teacher']}/{row['fingerprint']}"}
            for row in students.select("source", "teacher", "fingerprint", "rows", "steps").to_dicts()
        ],
    }


def main() -> None:
    """Write lake.tar.xz and contents.json beside this file."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", type=Path, help="a new folder to work in; the tables name it in a few places")
    data = arguments.parse_args().data
    data.mkdir(parents=True)
    contents = make(data)
    for entry in contents["students"]:
        assert (data / entry["folder"]).is_dir(), entry
    (HERE / "contents.json").write_text(json.dumps(contents, indent=1) + "\n")
    with tarfile.open(HERE / "lake.tar.xz", "w:xz", preset=9) as archive:
        for name in ("lake", "models", "students", "landing"):
            archive.add(data / name, name)


if __name__ == "__main__":
    main()
