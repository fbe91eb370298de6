"""Everything this project raises on purpose. Each message says what was expected, what was found, and what to do."""


class MemoRAGError(Exception):
    """Root of the tree: `except MemoRAGError` catches all that follows."""


class InputError(MemoRAGError, ValueError):
    """What the caller passed cannot be used; nothing was changed."""


class EmbedderError(MemoRAGError):
    """An embedding model answered with something that is not an embedding, or is not the one a store was made with."""


class RerankerError(MemoRAGError):
    """A reranker could not be loaded, or answered with something that is not one finite score for each passage."""


class TokenizerError(MemoRAGError):
    """A tokenizer of the user's own failed, or answered with something that is not a list of words."""


class MemoryModelError(MemoRAGError):
    """A memory could not be formed, loaded or asked."""


class LLMError(MemoRAGError):
    """A language model could not be asked, or its answer cannot be used."""


class StoreError(MemoRAGError):
    """A folder is not a store this version can read or write; it was left as it is."""


class Cancelled(MemoRAGError):
    """The caller's cancel event was set; the state is the one before the call."""


class MissingExtraError(MemoRAGError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed. Install them with: "
            f'pip install "memorag-integrations[{extra}]"'
        )
