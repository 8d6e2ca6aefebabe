"""Connects to an OpenAI-compatible server, asks what it serves, and starts the engine for it."""

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.engines.openai_batches import OpenaiBatchEngine
from openthoughts_dagster.generation.engines.openai_engine import OpenaiEngine, Served
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.servers.failures import failure_of
from openthoughts_dagster.generation.servers.http_client import HttpClient
from openthoughts_dagster.generation.servers.retry_policy import RequestFailed, RetryPolicy
from openthoughts_dagster.generation.servers.secrets import read_api_key

_DEFAULT_URL = "https://api.openai.com/v1"


async def start_openai(model: Model) -> OpenaiEngine:
    """Connect to the server. Raises EngineError if its key is missing or refused, or if nobody answers."""
    reference = model.reference
    try:
        key = read_api_key(reference.api_key_env)
    except ValueError as error:
        raise EngineError(
            f"{reference.name}: {error}; set it where the code location runs (on Kubernetes: as a secret)"
        ) from None
    client = HttpClient(reference.base_url or _DEFAULT_URL, key, reference.retry.request_seconds)
    retry_policy = RetryPolicy(reference.retry)
    try:
        served, _ = await retry_policy.ask(lambda: _served(client, model))
        if reference.mode == "batch":
            return OpenaiBatchEngine(client, model, served, retry_policy)
        return OpenaiEngine(client, model, served, retry_policy)
    except RequestFailed as error:
        await client.close()
        raise EngineError(
            f"{reference.name}: no server answers at {client.address}: start it, or correct `base_url` ({error})"
        ) from None
    except BaseException:
        await client.close()
        raise


async def _served(client: HttpClient, model: Model) -> Served:
    """Ask the server for its models; a server without that list, or that hides it from the key, may still be used."""
    reference = model.reference
    reply = await client.get("/models")
    if reply.status in (429, 502, 503, 529):
        raise failure_of(reply, answers_others=False)
    listed = reply.object().get("data")
    cards = [card for card in listed if isinstance(card, dict)] if isinstance(listed, list) else []
    if not any(card.get("owned_by") == "vllm" for card in cards):
        return Served()
    card = next((card for card in cards if card.get("id") == reference.model), None)
    if card is None:
        names = ", ".join(str(card.get("id")) for card in cards)
        raise EngineError(
            f"{reference.name}: {client.address} serves {names}, not {reference.model!r}: correct `model`"
        )
    version = (await client.get("/version", below_v1=False)).object().get("version", "of an unknown version")
    return Served(True, f"vllm {version}", card.get("max_model_len"))
