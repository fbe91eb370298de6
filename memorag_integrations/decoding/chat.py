"""How a checkpoint is spoken to: messages through its chat template to token ids, and ids back to text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MemoryModelError

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
"""Files that decide how text becomes tokens."""
BREAK = "\u200b"
"""Put into texts that spell one of the tokenizer's control tokens, so that they stay text."""


@dataclass(frozen=True)
class Chat:
    """A tokenizer with a chat template.

    Args:
        tokenizer: Of transformers.
        ends: Ids that end a reply.
    """

    tokenizer: Any
    ends: frozenset[int]

    def reading(self, message: str, acknowledgement: str) -> list[int]:
        """Ids to memorize: the user's message with the text, the assistant's reply, and the start of the next."""
        return self._ids([{"role": "user", "content": message}, {"role": "assistant", "content": acknowledgement}])

    def task(self, message: str) -> list[int]:
        """Ids of a task: a fresh chat of one message, fed on top of the memory."""
        return self._ids([{"role": "user", "content": message}])

    def text(self, ids: Sequence[int]) -> str:
        """Ids to text, control tokens left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)  # type: ignore[no-any-return]

    def count(self, text: str) -> int:
        """Tokens of a text by itself."""
        return len(self._tokens(text))

    def plain(self, text: str) -> str:
        """`text`, with whatever spells a control token broken up: a document cannot end its own message."""
        for token in sorted(self._controls(), key=len, reverse=True):
            if token in text:
                text = text.replace(token, token[:1] + BREAK + token[1:])
        return text

    def _controls(self) -> set[str]:
        added = self.tokenizer.added_tokens_decoder.values()
        return {str(token) for token in added if token.special and len(str(token)) > 1}

    def _ids(self, messages: list[dict[str, str]]) -> list[int]:
        try:
            written = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # A template is a program of the checkpoint's author, and may raise anything.
            raise MemoryModelError(f"The checkpoint's chat template failed ({error}). Correct it there.") from error
        return self._tokens(written)

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def load_chat(folder: Path, config_ends: Any) -> Chat:
    """The tokenizer of a checkpoint's folder.

    Args:
        config_ends: `eos_token_id` of config.json.

    Raises:
        MemoryModelError: Where there is none, it cannot be read, or it has no chat template.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # Broken files make the loaders raise anything, up to panics of their native part.
        raise MemoryModelError(
            f"The tokenizer in {folder} cannot be read ({error}). Get its files (tokenizer.json, …) again."
        ) from error
    if not getattr(tokenizer, "chat_template", None):
        raise MemoryModelError(
            f"Expected a chat template with the tokenizer in {folder}, found none: the model is spoken to "
            f"through it. Use an instruct checkpoint, or put chat_template.jinja beside tokenizer_config.json."
        )
    ends = [config_ends, tokenizer.eos_token_id]
    path = folder / "generation_config.json"
    if path.is_file():
        try:
            ends.append(json.loads(path.read_text(encoding="utf-8")).get("eos_token_id"))
        except (ValueError, AttributeError) as error:
            raise MemoryModelError(f"{path} is not readable JSON ({error}). Get it again.") from error
    flat = [i for end in ends for i in (end if isinstance(end, list) else [end])]
    return Chat(tokenizer, frozenset(i for i in flat if isinstance(i, int)))


def tokenizer_fingerprint(folder: Path) -> str:
    """Hash of the files that decide how text becomes tokens."""
    digest = hashlib.sha256()
    for name in FILES:
        path = folder / name
        if path.is_file():
            data = path.read_bytes()
            digest.update(f"{name}:{len(data)}:".encode() + data)
    return digest.hexdigest()
