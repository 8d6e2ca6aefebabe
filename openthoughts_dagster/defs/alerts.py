"""Sending a message about a failed run to a webhook: Slack's incoming webhooks, or any server that accepts JSON."""

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from openthoughts_dagster.generation.servers.http_client import post_json
from openthoughts_dagster.generation.servers.retry_policy import RequestFailed
from openthoughts_dagster.lake.credentials import without_credentials

WEBHOOK = "OPENTHOUGHTS_ALERT_WEBHOOK"
ADDRESS = "OPENTHOUGHTS_UI"

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|WEBHOOK|DATABASE_URL|POSTGRES", re.IGNORECASE)
_IN_HEADER = re.compile(r"(?i)(bearer\s+|api[-_]?key[\"']?\s*[:=]\s*[\"']?)[A-Za-z0-9_\-.~+/]{8,}")
_LONGEST, _ATTEMPTS = 1500, 3
_REFUSED = (400, 413, 415, 422)  # the fault is in this message, not in the server or the address


class AlertError(RuntimeError):
    """A message could not be delivered. The error names the host, never the webhook's path, which is a secret.

    `refused` is true when the server answered and refused this message, so that it would refuse it later as well.
    """

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True)
class Failure:
    """A run that failed: what it made, for which partition, and why."""

    run_id: str
    job: str
    assets: list[str]
    partition: str
    error: str
    link: str

    def message(self, environment: Mapping[str, str]) -> dict[str, object]:
        """Make the JSON body, without secrets. Slack shows `text`; the other fields are for programs."""
        fields = asdict(self)
        clean = {
            n: _remove_secrets(value, environment) if isinstance(value, str) else value for n, value in fields.items()
        }
        what = ", ".join(self.assets) or self.job
        where = f" for {self.partition}" if self.partition else ""
        link = f"\n{self.link}" if self.link else ""
        return {"text": f"{what}{where} failed: {clean['error']}{link}"} | clean


def send(address: str, body: Mapping[str, object], wait: float = 1.0) -> None:
    """Post JSON to an address, up to three times.

    Raises:
        AlertError: The server did not accept the message.
    """
    host = address.split("/")[2] if "://" in address else ""
    if not re.match(r"https?://[^/]", address):
        raise AlertError(f"{WEBHOOK} is no http or https address")
    problem, refused = "", False
    for attempt in range(_ATTEMPTS):
        try:
            status = post_json(address, body, seconds=10).status
            if status < 300:
                return
            problem, refused = f"HTTP {status}", status in _REFUSED
            if status < 500 and status != 429:
                break
        except RequestFailed as error:
            problem, refused = str(error), False
        if attempt + 1 < _ATTEMPTS:
            time.sleep(wait * 2**attempt)
    says = f"{WEBHOOK}: {host} did not take the message: {problem}; the failed run is in the UI"
    raise AlertError(says, refused)


def _remove_secrets(text: str, environment: Mapping[str, str]) -> str:
    """Remove the values of secret variables and passwords in addresses from a text, and cut it to a bounded length."""
    for name, value in environment.items():
        if _SECRET.search(name) and len(value) >= 6:
            text = text.replace(value, f"[{name}]")
    text = _IN_HEADER.sub(r"\1[secret]", without_credentials(text))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
