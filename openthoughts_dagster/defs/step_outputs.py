"""The outputs that one step of a run passes to the next: small JSON values, at an address that all pods can read."""

import json
from typing import Any

import dagster as dg

from openthoughts_dagster.storage import join_address
from openthoughts_dagster.storage.objects import read_object, write_object

STEP_OUTPUTS = "step_outputs"


class StepOutputError(RuntimeError):
    """A value cannot be passed from one step to another. The message says which value, and what to do."""


class StepOutputs(dg.ConfigurableIOManager):
    """Stores values as ADDRESS/RUN/STEP/OUTPUT.json. They are JSON and not pickles, which could run code when read.

    The values are needed while their run is in progress, and when a run is re-executed from a failure. Maintenance
    deletes those of runs that wrote none for 30 days.
    """

    address: str

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write one value."""
        try:
            text = json.dumps(obj)
        except (TypeError, ValueError) as error:
            text, problem = "", str(error)
        else:
            problem = "it would come back as another value" if json.loads(text) != obj else ""
        if problem:
            raise StepOutputError(
                f"{context.step_key}.{context.name}: a {type(obj).__name__} cannot be passed on as JSON: {problem}. "
                "Steps pass on counts and names; rows belong in the lake"
            )
        write_object(self._place(context), text.encode())

    def load_input(self, context: dg.InputContext) -> Any:
        """Read the value of an earlier step."""
        place = self._place(context)
        data = read_object(place)
        if data is None:
            raise StepOutputError(
                f"{place}: the output of an earlier step is gone: launch the partition again instead of re-executing "
                "it from the failure; what was paid for is in the ledger"
            )
        return json.loads(data)

    def _place(self, context: dg.OutputContext | dg.InputContext) -> str:
        *folders, name = context.get_identifier()
        return join_address(self.address, *folders, f"{name}.json")
