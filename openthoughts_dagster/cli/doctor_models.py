"""The doctor's checks of models: whether they are found, their engines are installed, and their servers answer."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from openthoughts_dagster.cli.findings import Finding
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate, read_config
from openthoughts_dagster.generation.servers.http_client import HttpClient, HttpReply, run_to_end
from openthoughts_dagster.generation.servers.retry_policy import RequestFailed
from openthoughts_dagster.generation.servers.secrets import read_api_key
from openthoughts_dagster.recipe import ModelReference, Recipe, Student
from openthoughts_dagster.recipe.engines import ENGINES, engine_entry, is_served
from openthoughts_dagster.storage import Folders
from openthoughts_dagster.training import TrainingError
from openthoughts_dagster.training.memory import check_heads, describe_memory

_SECONDS = 5.0
_NAMED = 5  # models that a finding names


def check_models(recipe: Recipe, settings: Settings) -> Iterator[Finding]:
    """Check for every model that it is found and that its engine and its key are there."""
    for role, reference in _roles(recipe):
        what = f"{role} {reference.name}"
        entry = engine_entry(reference.engine)
        if not entry.is_installed() and not (settings.executor == "kubernetes" and not entry.is_server):
            says = f"engine {entry.name} needs the package {entry.package}, which is not installed here"
            yield Finding(what, False, f"{says}: {entry.how_to_install()}")
            continue
        try:
            read_api_key(reference.api_key_env)
        except ValueError as error:
            yield Finding(what, False, f"its key is missing: {error}; set it")
            continue
        try:
            located = locate(reference, recipe.folder, Folders(settings.cache), weights=False)
        except EngineError as error:
            made = recipe.tiny_models and reference.model.startswith(recipe.tiny_models)
            says = "is made by the asset quickstart_models: materialize it" if made else str(error)
            yield Finding(what, None if made else False, says)
            continue
        if isinstance(reference, Student):
            yield from _check_student(reference, recipe)
        where = "" if entry.is_installed() else ", in pods of its own: it is not installed here"
        yield Finding(what, True, f"{located.identity.partition} on {entry.name}{where}")


def _check_student(student: Student, recipe: Recipe) -> Iterator[Finding]:
    """Check that the student's training fits its hardware, if its configuration is on this machine."""
    config = read_config(student, recipe.folder)
    try:
        if config is None:
            return
        fits, says = describe_memory(config, student)
        yield Finding("student's memory", fits or None, says)
        check_heads(config, student)
    except TrainingError as error:
        yield Finding("student's hardware", False, str(error))
    except KeyError as error:
        yield Finding("student's memory", None, f"cannot be computed: the base model's config.json lacks {error}")


def check_servers(recipe: Recipe, settings: Settings) -> Iterator[Finding]:
    """Ask every server of the recipe for its list of models. No model is asked, so that nothing is paid for."""
    asked: dict[tuple[str, str | None], list[ModelReference]] = {}
    for _, reference in _roles(recipe):
        if is_served(reference.engine) and reference.base_url and ENGINES[reference.engine].is_installed():
            with suppress(ValueError):  # check_models tells it
                key = read_api_key(reference.api_key_env)
                asked.setdefault((reference.base_url, key), []).append(reference)
    for (url, key), references in asked.items():
        yield run_to_end(_ask(url, key, references, elsewhere=settings.executor == "kubernetes"))


async def _ask(url: str, key: str | None, references: list[ModelReference], elsewhere: bool) -> Finding:
    client = HttpClient(url, key, _SECONDS)
    what = f"server {client.address}"
    try:
        reply = await asyncio.wait_for(client.get("/models"), _SECONDS)
    except (RequestFailed, TimeoutError) as error:
        says = f"does not answer: {str(error) or f'nothing within {_SECONDS:g} s'}"
        if elsewhere:
            return Finding(what, None, f"{says}. Steps ask it from pods of their own, which may reach it")
        return Finding(what, False, f"{says}. Start it, or correct base_url of {_names(references)}")
    finally:
        await client.close()
    return _describe_reply(what, reply, references)


def _describe_reply(what: str, reply: HttpReply, references: list[ModelReference]) -> Finding:
    if reply.status == 401:
        keys = ", ".join(sorted({reference.api_key_env or "" for reference in references} - {""}))
        says = f"refuses the key in {keys}" if keys else "wants a key: set api_key_env"
        return Finding(what, False, f"{says} ({_names(references)})")
    if reply.status >= 500:
        return Finding(what, False, f"answers with status {reply.status}: {reply.text[:200].strip()}")
    if reply.status != 200:
        return Finding(what, True, f"answers; it does not list its models (status {reply.status})")
    data = reply.object().get("data")
    listed = [str(model.get("id")) for model in data if isinstance(model, dict)] if isinstance(data, list) else []
    absent = [reference.model for reference in references if reference.model not in listed]
    if listed and absent:
        has = ", ".join(listed[:_NAMED]) + (", ..." if len(listed) > _NAMED else "")
        return Finding(what, None, f"answers, and does not list {', '.join(absent)}: it lists {has}")
    return Finding(what, True, f"answers ({_names(references)})")


def _names(references: list[ModelReference]) -> str:
    return ", ".join(dict.fromkeys(reference.name for reference in references))


def _roles(recipe: Recipe) -> list[tuple[str, ModelReference]]:
    return [
        *(("judge", judge) for judge in recipe.judges),
        *(("teacher", recipe.teacher(teacher.name)) for teacher in recipe.teachers),
        *(("reference", reference) for reference in recipe.evaluation.references),
        ("student", recipe.student),
    ]
