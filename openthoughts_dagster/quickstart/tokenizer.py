"""A tokenizer for very small models: common words are one token, digits are single, and the rest is bytes."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

END, PAD = "<|end|>", "<|pad|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
THINK = ("<think>", "</think>")

# A turn is its role, its text and the end token. So a prompt is always a prefix of the prompt with its completion, on
# which fine-tuning on completions alone relies.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

# Words with the space before them, single digits, single signs, and the spaces that are left.
PIECES = r" ?\p{L}+|\p{N}|[^\s\p{L}\p{N}]|\s"


def train_tokenizer(texts: Iterable[str], common: float = 0.02) -> Any:
    """Make a `PreTrainedTokenizerFast` for texts like these. Any other text becomes bytes and can be decoded again.

    Args:
        texts: Questions of the problems.
        common: A word in more than this share of the texts is wording that questions share, and is one token. Other
            words are what a question is about: the model has to spell them or count in them, so it sees their letters.

    Returns:
        The tokenizer, with a chat template.
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
    # Without merges a piece is in the vocabulary as a whole or becomes bytes, so a rare word is all letters.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pieces
    tokenizer.decoder = decoders.ByteLevel()
    # They are not special, because `decode(..., skip_special_tokens=True)` must keep the tags that answers are cut at.
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
    """Write the files of the tokenizer, which transformers, TRL and vLLM load."""
    tokenizer.save_pretrained(str(folder))
