"""A tokenizer for very small models: whole words of the problems, single digits, and bytes for everything else."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

END, PAD = "<|end|>", "<|pad|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
THINK = ("<think>", "</think>")

# A turn is its role, its text and the end: a prompt is always a prefix of the prompt with its completion, which is
# what fine-tuning on completions only relies on.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

# Words with the space before them, digits one by one, signs, and the spaces that are left.
PIECES = r" ?\p{L}+|\p{N}|[^\s\p{L}\p{N}]|\s"


def train_tokenizer(texts: Iterable[str], common: float = 0.02) -> Any:
    """A `PreTrainedTokenizerFast` for texts like these; every other text is spelled in bytes and still round-trips.

    A word in more than `common` of the texts belongs to the wording of the questions and is one token. Any other
    word is what a question is about, to be spelled or counted, and the model sees its letters.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import AddedToken, PreTrainedTokenizerFast

    split = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = pre_tokenizers.Sequence([split, byte_level])
    texts = list(texts)
    seen = Counter(piece for text in texts for piece in {piece for piece, _ in pieces.pre_tokenize_str(text)})
    words = sorted(piece for piece, times in seen.items() if len(piece) > 2 and times > common * len(texts))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([PAD, END, *ROLES, *alphabet, *words])}
    # No merges: a piece is in the vocabulary as a whole or goes byte by byte, so a rare word is all letters.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pieces
    tokenizer.decoder = decoders.ByteLevel()
    # Not special: what a reader of the answers cuts at must survive `decode(..., skip_special_tokens=True)`.
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in THINK])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=2048,
    )


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write the tokenizer files that transformers, TRL and vLLM load."""
    tokenizer.save_pretrained(str(folder))
