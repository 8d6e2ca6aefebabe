"""The hardware of one engine or one training, as a mapping or as the name of a shape."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, ValidationInfo, model_validator

from openthoughts_dagster.recipe.fields import Positive, Problem, Quantity, RecipeModel
from openthoughts_dagster.recipe.suggestions import did_you_mean

# Host memory (Gi), cores and scratch disk (Gi) for each accelerator. The smallest cloud machines with one, two, four or
# eight of them have that much, with room for the node's own processes.
_PER_ACCELERATOR = {
    "b200": (192, 20, 250),
    "h200": (192, 20, 250),
    "h100": (128, 16, 200),
    "a100": (80, 10, 150),
    "l40s": (48, 8, 150),
    "a10g": (24, 6, 100),
    "l4": (24, 6, 100),
    "t4": (24, 6, 100),
    "mi300x": (192, 20, 250),
}
_COUNTS = (1, 2, 4, 8)


class Hardware(RecipeModel):
    """What one engine needs, as a mapping or a shape's name; the Kubernetes executor and the cost account read it."""

    accelerator: str | None = Field(None, description="Accelerator model, e.g. h100; absent for CPU.")
    count: int = Field(0, ge=0, description="Accelerators per engine (tensor parallel size).")
    memory: Quantity = Field("4Gi", description="Host memory, as Kubernetes writes it.")
    cpus: Positive = Field(2, description="CPU cores.")
    disk: Quantity = Field("20Gi", description="Scratch disk, as Kubernetes writes it.")
    nodes: Positive = Field(
        1, description="Machines of this kind that one training runs on at once; above 1 only for the student."
    )

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        shapes = SHAPES | dict((info.context or {}).get("shapes", {}))
        if value not in shapes:
            raise ValueError(
                f"must be a shape's name or a mapping, got {value!r}; {_suggest_shapes(value, list(shapes))}"
            )
        return shapes[value].model_dump()

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find an accelerator without a count, or a count without an accelerator."""
        if (raw.get("accelerator") is None) != (raw.get("count", 0) == 0):
            yield (), "accelerator and count go together: name both, or neither for CPU"


def on_one_machine(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Find a raw model whose `hardware` asks for several machines."""
    hardware = raw.get("hardware")
    nodes = hardware.get("nodes", 1) if isinstance(hardware, Mapping) else getattr(hardware, "nodes", 1)
    if isinstance(nodes, int) and nodes > 1:
        yield (
            ("hardware", "nodes"),
            f"only the student is trained on several machines, and this model answers on one; got {nodes}: remove it, "
            "and cut the work up with shards",
        )


def _suggest_shapes(name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    counts, own = ", ".join(f"x{count}" for count in _COUNTS), [shape for shape in known if shape not in SHAPES]
    return (
        (f"{hint} " if hint else "")
        + f"Shapes are {', '.join(_PER_ACCELERATOR)}, each with {counts}"
        + (f"; and the cluster's {', '.join(own)}" if own else "")
    )


def _make_shape(accelerator: str, count: int) -> Hardware:
    memory, cpus, disk = (count * each for each in _PER_ACCELERATOR[accelerator])
    return Hardware(accelerator=accelerator, count=count, memory=f"{memory}Gi", cpus=cpus, disk=f"{disk}Gi")


SHAPES = {f"{name}x{count}": _make_shape(name, count) for name in _PER_ACCELERATOR for count in _COUNTS}
"""The built-in shapes by name, such as h100x1 and h100x8."""
