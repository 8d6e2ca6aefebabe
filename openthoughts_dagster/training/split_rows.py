"""Context parallelism: a group of processes shares every row, and each of them has two pieces of it.

A row is cut into twice as many pieces as there are processes, and process n has the n-th piece from the front and the
n-th from the back: all have the same number of tokens, and as much attention to compute. In every layer a process
gathers the keys and values of the whole row and computes the attention of its own queries, as Llama 3 was trained
(arXiv 2407.21783, section 3.3.2). Everything else in a layer is computed for each token alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openthoughts_dagster.training.errors import TrainingError
from openthoughts_dagster.training.tokens import IGNORED

_NAME = "split_rows"  # of the attention in transformers' table
_DEPENDING_ON_LENGTH = {"dynamic", "longrope"}  # rotary embeddings that look at the longest position of a pass
_UNSUPPORTED = ("sliding_window", "softcap", "s_aux", "position_bias")
_TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}


@dataclass
class SplitRows:
    """This process's place, `rank`, in its group of `size` processes that share rows."""

    size: int
    rank: int
    group: Any = None
    layers: set[int] = field(default_factory=set)
    """The layers whose attention was computed here."""

    @property
    def pieces(self) -> tuple[int, int]:
        """The numbers of the two pieces of a row that this process has."""
        return self.rank, 2 * self.size - 1 - self.rank

    def own(self, row: Any, dimension: int) -> Any:
        """Return this process's two pieces of a tensor whose `dimension` is the tokens of whole rows."""
        import torch

        pieces = row.chunk(2 * self.size, dim=dimension)
        return torch.cat([pieces[piece] for piece in self.pieces], dim=dimension)

    def collator(self, collate: Any) -> Callable[[Any], dict[str, Any]]:
        """Wrap TRL's collator: labels are shifted before rows are cut, and positions are those in the whole row."""
        import torch

        def collate_pieces(rows: Any) -> dict[str, Any]:
            batch = collate(rows)
            tokens, labels = batch["input_ids"], batch["labels"]
            missing = -tokens.shape[1] % (2 * self.size)
            whole = {
                "input_ids": torch.nn.functional.pad(tokens, (0, missing), value=collate.pad_token_id),
                "labels": torch.nn.functional.pad(labels, (0, missing), value=IGNORED),
                "shift_labels": torch.nn.functional.pad(labels[:, 1:], (0, missing + 1), value=IGNORED),
                "position_ids": torch.arange(tokens.shape[1] + missing).expand(len(tokens), -1),
            }
            # no mask: padding is last, where a causal model does not look
            return {name: self.own(tensor, 1) for name, tensor in whole.items()}

        return collate_pieces

    def attention(
        self,
        module: Any,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any,
        dropout: float = 0.0,
        scaling: float | None = None,
        **more: Any,
    ) -> tuple[Any, None]:
        """Compute causal attention of this process's queries, as one of transformers' attention functions."""
        import torch
        from torch.nn.attention.bias import causal_lower_right
        from transformers.integrations.sdpa_attention import repeat_kv

        unsupported = [name for name in _UNSUPPORTED if more.get(name) is not None]
        if unsupported or attention_mask is not None or more.get("is_causal") is False:
            raise TrainingError(
                f"student: training.context_parallel does not go with this model's attention "
                f"({', '.join(unsupported) or 'which is not causal'}): set it to 1"
            )
        self.layers.add(id(module))
        device = query.device.type
        if torch.is_autocast_enabled(device):  # the kernels below are called past autocast
            query, key, value = (each.to(torch.get_autocast_dtype(device)) for each in (query, key, value))
        groups = query.shape[1] // key.shape[1]
        keys, values = (repeat_kv(self._whole(each), groups) for each in (key, value))
        length, made = query.shape[2] // 2, []
        for piece, queries in zip(self.pieces, query.chunk(2, dim=2), strict=True):
            end = (piece + 1) * length
            made.append(
                torch.nn.functional.scaled_dot_product_attention(
                    queries.contiguous(),
                    keys[:, :, :end],
                    values[:, :, :end],
                    attn_mask=causal_lower_right(length, end),
                    dropout_p=dropout,
                    scale=scaling,
                )
            )
        return torch.cat(made, dim=2).transpose(1, 2).contiguous(), None

    def _whole(self, own: Any) -> Any:
        """Return the whole rows of a tensor (rows, heads, tokens, size) of which this process has two pieces."""
        import torch

        halves = [each.chunk(2, dim=2) for each in _gather(own, self)]
        return torch.cat([front for front, _ in halves] + [back for _, back in reversed(halves)], dim=2)

    def check_attention(self, heads: int, groups: int, size: int, device: Any, dtype: Any) -> None:
        """Check on this machine that split rows have the attention and the gradients of whole ones.

        Args:
            heads: Heads of queries.
            groups: Heads of queries for each head of keys.
            size: Numbers in a head.
            device: Where the student is trained.
            dtype: The number format of its attention.

        Raises:
            TrainingError: They differ by more than rounding does.
        """
        import torch

        generator, tokens = torch.Generator().manual_seed(0), 2 * self.size * 16
        shapes = [(1, count, tokens, size) for count in (heads, heads // groups, heads // groups, heads)]
        *inputs, wanted = (torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes)
        split = [self.own(each, 2).requires_grad_() for each in inputs]
        whole = [each.detach().clone().float().requires_grad_() for each in inputs]
        repeated = [each.repeat_interleave(groups, dim=1) for each in whole[1:]]
        expected = torch.nn.functional.scaled_dot_product_attention(whole[0], *repeated, is_causal=True)
        with torch.autocast(torch.device(device).type, enabled=False):
            query, key, value = split
            found = self.attention(None, query, key, value, None)[0].transpose(1, 2)
        (expected * wanted.float()).sum().backward()
        (found * self.own(wanted, 2)).sum().backward()
        pairs = [(expected.detach(), found.detach())] + [(a.grad, b.grad) for a, b in zip(whole, split, strict=True)]
        differences = [(self.own(one, 2) - other.float()).abs().max() / one.abs().max() for one, other in pairs]
        worst = float(torch.stack(differences).max())
        self.layers.clear()
        if not worst <= _TOLERANCE[str(dtype).removeprefix("torch.")]:
            raise TrainingError(
                f"student: with training.context_parallel {self.size} the attention of this machine is wrong by "
                f"{worst:.1%}, and the student would be another one: set context_parallel to 1, and report this"
            )

    def check_layers(self, layers: int) -> None:
        """Raise TrainingError unless the attention of every layer was computed here: others would see pieces alone."""
        if len(self.layers) != layers:
            raise TrainingError(
                f"student: training.context_parallel is {self.size}, and {layers - len(self.layers)} of {layers} "
                "layers of the model compute no attention through it: set it to 1"
            )


def share_rows(model: Any, size: int, bf16: bool, device: Any) -> SplitRows:
    """Let a loaded model attend to rows that groups of `size` neighbouring processes share.

    Raises:
        TrainingError: The model has layers that cannot work on pieces of a row, or the machine computes them wrongly.
    """
    import torch
    from torch import distributed
    from transformers import AttentionInterface

    config = model.config.get_text_config()
    check_can_split(config, size)
    group, _ = distributed.new_subgroups(size)
    split = SplitRows(size, distributed.get_rank(group), group)
    heads = config.num_attention_heads
    groups = heads // (getattr(config, "num_key_value_heads", None) or heads)
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    split.check_attention(heads, groups, head, device, torch.bfloat16 if bf16 else torch.float32)
    AttentionInterface.register(_NAME, split.attention)
    model.set_attn_implementation(_NAME)
    return split


def check_can_split(config: Any, size: int) -> None:
    """Raise TrainingError if a layer of a model cannot work on pieces of a row."""
    kinds = set(getattr(config, "layer_types", None) or []) - {"full_attention"}
    if getattr(config, "layer_types", None) is None and getattr(config, "sliding_window", None):
        kinds = {"sliding_attention"}
    rope = getattr(config, "rope_parameters", None) or {}
    nested = [each for each in rope.values() if isinstance(each, Mapping)] or [rope]
    kinds |= {
        f"{each['rope_type']} rotary embeddings" for each in nested if each.get("rope_type") in _DEPENDING_ON_LENGTH
    }
    if kinds:
        raise TrainingError(
            f"student: training.context_parallel is {size}, and the model has {' and '.join(sorted(kinds))}, which "
            "need whole rows: set it to 1"
        )


def repeat_batches(order: Iterator[int], batch: int, times: int) -> Iterator[int]:
    """Yield items in batches, each batch several times: neighbouring processes then get the same one."""
    pending: list[int] = []
    for item in order:
        pending.append(item)
        if len(pending) == batch:
            yield from pending * times
            pending = []
    yield from pending * times


def _gather(own: Any, split: SplitRows) -> Sequence[Any]:
    """Return the tensors of all processes of a group, of equal shapes; gradients are summed over the processes."""
    import torch
    from torch import distributed

    class Gather(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, tensor: Any) -> tuple[Any, ...]:
            found = [torch.empty_like(tensor) for _ in range(split.size)]
            distributed.all_gather(found, tensor, group=split.group)
            return tuple(found)

        @staticmethod
        def backward(context: Any, *gradients: Any) -> Any:
            own = torch.empty_like(gradients[split.rank])
            distributed.reduce_scatter(own, [each.contiguous() for each in gradients], group=split.group)
            return own

    gathered: Sequence[Any] = Gather.apply(own.contiguous())
    return gathered
