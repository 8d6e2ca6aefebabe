"""Accelerator-hours of a teacher's answers, from the sizes of model and machine: `python benchmarks/sizing.py`.

Decoding long answers is bound by memory: each step reads all weights and the keys and values of all answers under
way, and as many answers are under way as fit beside the weights. So

    room        = accelerators x memory x TAKEN - weights                    bytes for keys and values
    at once     = min(room / (bytes of a token x tokens / 2), MOST)          an answer is half written on average
    step        = (weights + keys and values) / (accelerators x bandwidth x REACHED)
    tokens/s    = at once / step
    hours       = questions x answers x tokens / tokens/s / 3600 x accelerators

Left out: prompts (short beside reasoning), starting engines (minutes), and the end of a run, when few answers are left.
The check is the paper's own figure: 1.2 million answers of QwQ-32B in 22,000 hours on single GH200 (arXiv 2506.04178).
"""

from dataclasses import dataclass

TAKEN = 0.9  # of the memory: vllm.gpu_memory_utilization
REACHED = 0.7  # of the bandwidth: an assumption
MOST = 256  # answers at once: max_in_flight


@dataclass(frozen=True)
class Model:
    """A dense model: bytes of its weights, and of the keys and values of one token."""

    name: str
    weights: float
    token: float


@dataclass(frozen=True)
class Machine:
    """What one engine has: accelerators, and of each the bytes of memory and bytes a second."""

    name: str
    count: int
    memory: float
    bandwidth: float


def kv_bytes(layers: int, heads: int, size: int, width: int) -> int:
    """Keys and values of one token: of every layer, every key-value head, `width` bytes a number."""
    return 2 * layers * heads * size * width


QWQ = Model("QwQ-32B, bfloat16", 65.5e9, kv_bytes(64, 8, 128, 2))
QWQ_FP8 = Model("QwQ-32B, fp8 weights and cache", 33e9, kv_bytes(64, 8, 128, 1))
SMALL = Model("a 7B of the Qwen2.5 family, bfloat16", 15.2e9, kv_bytes(28, 4, 128, 2))
H100, GH200 = (80e9, 3.35e12), (96e9, 4.0e12)
SHAPES = [
    (QWQ, Machine("h100x2", 2, *H100)),
    (QWQ, Machine("h100x8", 8, *H100)),
    (QWQ_FP8, Machine("h100x1", 1, *H100)),
    (SMALL, Machine("h100x1", 1, *H100)),
]
PAPER = (QWQ, Machine("one GH200", 1, *GH200))
WORK = {
    "a trial": (1_000, 1, 8_000),
    "one of the paper's comparisons": (31_600, 1, 16_000),
    "OpenThoughts3-1.2M": (75_000, 16, 16_000),
}
PAPER_HOURS = 22_000


def speed(model: Model, machine: Machine, tokens: int) -> float:
    """Tokens per second of one engine on answers of this length."""
    room = machine.count * machine.memory * TAKEN - model.weights
    at_once = min(room / (model.token * tokens / 2), MOST)
    kept = at_once * model.token * tokens / 2
    step = (model.weights + kept) / (machine.count * machine.bandwidth * REACHED)
    return at_once / step


def hours(model: Model, machine: Machine, questions: int, answers: int, tokens: int) -> float:
    """Accelerator-hours of all answers."""
    return questions * answers * tokens / speed(model, machine, tokens) / 3600 * machine.count


def table() -> str:
    """The table of docs/kubernetes.md."""
    head = [f"{model.name}, {machine.name}" for model, machine in SHAPES]
    lines = ["| questions x answers x tokens | " + " | ".join(head) + " |", "|---|" + "---|" * len(head)]
    for name, work in WORK.items():
        cells = [_cell(hours(*shape, *work)) for shape in SHAPES]
        lines.append(f"| {name}: " + " x ".join(f"{n:,}" for n in work) + " | " + " | ".join(cells) + " |")
    speeds = [f"{speed(*shape, 16_000) / shape[1].count:,.0f}" for shape in SHAPES]
    return "\n".join([*lines, "| tokens a second and accelerator, of 16,000 each | " + " | ".join(speeds) + " |"])


def check() -> str:
    """The paper's figure beside the formula's."""
    questions, answers, tokens = WORK["OpenThoughts3-1.2M"]
    ours = hours(*PAPER, questions, answers, tokens)
    needed = questions * answers * tokens / PAPER_HOURS / 3600
    return (
        f"{PAPER[0].name} on {PAPER[1].name}: {ours:,.0f} hours by the formula, {PAPER_HOURS:,} in the paper "
        f"({needed:,.0f} tokens a second and accelerator, the formula says {speed(*PAPER, tokens):,.0f})"
    )


def _cell(accelerator_hours: float) -> str:
    on = 64 if accelerator_hours > 1_000 else 8
    wall = accelerator_hours / on
    amount = f"{accelerator_hours:,.0f}" if accelerator_hours >= 10 else f"{accelerator_hours:.1f}"
    return f"{amount} h: {on} for " + (f"{wall:,.1f} h" if wall < 48 else f"{wall / 24:,.0f} days")


if __name__ == "__main__":
    print(table())
    print()
    print(check())
