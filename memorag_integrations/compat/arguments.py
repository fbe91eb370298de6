"""Arguments of the original's constructors and calls: checked, or refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import Parameter, signature
from pathlib import Path
from typing import Literal, get_args

from ..contracts import Embedder
from ..documents import Document
from ..encoders.embedders import resolve_embedder
from ..errors import EmbedderError, InputError
from ..prompts import check_template

NAME = "context"
"""Id of the one document that is memorized."""

Retrieval = Literal["memorag", "per-clue-union"]
"""Our fusion of query and clues, or one dense search for each and the union of their hits, as the original does."""


def refuse_unknown(name: str, call: Callable[..., object], unknown: Mapping[str, object]) -> None:
    """Nothing, where `unknown` is empty.

    Raises:
        InputError: Otherwise, with the arguments that the class or method `name` has, and the likeliest.
    """
    if not unknown:
        return
    parameters = signature(call).parameters.values()
    known = [p.name for p in parameters if p.kind is not Parameter.VAR_KEYWORD and p.name != "self"]
    found = next(iter(unknown))
    near = get_close_matches(found, known, 1)
    meant = f"; is {near[0]} meant?" if near else "."
    raise InputError(f"{name} has no argument {found!r}{meant} It has {', '.join(known)}.")


def as_document(context: object) -> Document:
    """The one text that is memorized.

    Raises:
        InputError: For anything but a text.
    """
    if not isinstance(context, str):
        raise InputError(
            f"context must be one text, found {type(context).__name__}. For several documents use "
            f"memorag_integrations.MemoRAG, which takes any number of them."
        )
    return Document(context, NAME)


def check_one_generator(checkpoint: str | None, customized: object) -> None:
    """Raises InputError where both name what writes."""
    if checkpoint and customized is not None:
        raise InputError("gen_model_name_or_path and customized_gen_model both name a generator. Pass one of them.")


def check_count(**given: object) -> None:
    """Raises InputError where one of these is not a whole number of at least 1."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, found {value!r}.")


def check_switch(**given: object) -> None:
    """Raises InputError where one of these is not True or False."""
    for name, value in given.items():
        if not isinstance(value, bool):
            raise InputError(f"{name} must be True or False, found {value!r}.")


def check_retrieval(retrieval: object) -> Retrieval:
    """Raises InputError for another way of retrieval than those there are."""
    for known in get_args(Retrieval):
        if retrieval == known:
            return known  # type: ignore[no-any-return]
    raise InputError(f"retrieval must be one of {', '.join(get_args(Retrieval))}; found {retrieval!r}.")


def check_prompt(template: object, needs_query: bool) -> str | None:
    """A prompt template of the original's form: {context}, and {input} where there is a query; None for ours."""
    if template is None:
        return None
    fields = frozenset({"context", "input"}) if needs_query else frozenset({"context"})
    check_template("prompt_template", template, frozenset({"context"}), fields)
    return str(template)


def find_embedder(
    given: str | Embedder | None, cache_dir: str | None, access_token: str | None
) -> str | Embedder | None:
    """The embedder that `ret_model_name_or_path` names, fetched with the cache and the token where these are given.

    Raises:
        InputError, MissingExtraError: As `resolve_embedder`.
        EmbedderError: Where it cannot be had.
    """
    embedder = resolve_embedder(given)
    own = not isinstance(given, str) or given == "minilm" or Path(given).expanduser().exists()
    if own or not (cache_dir or access_token):
        return embedder
    from ..encoders.pretrained import find_folder

    folder = find_folder(str(given), EmbedderError, token=access_token or None, cache_dir=cache_dir or None).path
    return resolve_embedder(str(folder))
