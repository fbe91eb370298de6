"""Pretrained models, encoders and decoders: found in a folder or on the hub, and what to do where that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import MemoRAGError, MissingExtraError

WANTED = ["*.json", "*.safetensors", "*.bin", "*.pt", "*.model", "*.txt"]
"""What is downloaded of a repository: no code. Pickles (*.bin, *.pt) are read as tensors alone."""

UNWANTED = ["onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*"]


class StoredName(str):
    """The name of a model that a store gives. It may be used where the model is on this machine, and never downloaded."""

    __slots__ = ()


class Found(NamedTuple):
    """A model's folder.

    Args:
        path: Where it lies.
        commit: The hub's commit; "" for a local folder.
    """

    path: Path
    commit: str = ""


def find_folder(
    model: str | Path,
    error: type[MemoRAGError],
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    wanted: Sequence[str] = WANTED,
) -> Found:
    """A local folder, or a repository of the Hugging Face hub, downloaded where it is not yet.

    Args:
        model: A path, or a repo id like owner/name.
        error: What is raised where it is neither, or cannot be had.
        revision, token, cache_dir: For the hub, in the place of its client's own.
        wanted: Patterns of the files to download.

    Raises:
        MissingExtraError: For a repo id without the hub's client (the `hf` extra).
    """
    name, path = str(model), Path(model).expanduser()
    here_alone = isinstance(model, StoredName)
    if path.is_dir():
        return Found(path)
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise error(
            f"Expected a model's folder or a repo id like owner/name, found {name!r}, "
            f"which is {'a file' if path.exists() else 'neither'}."
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingExtraError("Downloading a model", "hf") from None
    try:
        downloaded = snapshot_download(
            name,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            allow_patterns=list(wanted),
            ignore_patterns=UNWANTED,
            local_files_only=here_alone,
        )
    except Exception as caught:  # The hub's client raises errors of many libraries.
        if here_alone:
            raise error(not_here(name)) from caught
        raise error(not_had(name, caught, revision)) from caught
    return Found(Path(downloaded), Path(downloaded).name)


def find_config(
    model: str | Path,
    error: type[MemoRAGError],
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
) -> dict[str, Any]:
    """config.json of a model, without downloading anything else. The arguments are those of `find_folder`."""
    if Path(model).expanduser().exists() or str(model).count("/") != 1:
        return read_config(find_folder(model, error).path, error)
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise MissingExtraError("Downloading a model", "hf") from None
    try:
        file = hf_hub_download(str(model), "config.json", revision=revision, token=token, cache_dir=cache_dir)
    except Exception as caught:  # The hub's client raises errors of many libraries.
        raise error(not_had(str(model), caught, revision)) from caught
    return read_config(Path(file).parent, error)


def not_here(model: str) -> str:
    """Why a model that a store names is not downloaded, and what to do."""
    return (
        f"The store names the model {model!r}, which is not on this machine, and nothing is downloaded because a store says "
        f"so. Name it yourself in load or open (embedder=…, memory=…), or download it first: `hf download {model}`."
    )


def not_had(model: str, error: BaseException, revision: str | None = None) -> str:
    """Why a model could not be had, and what to do, in one message."""
    which = repr(model) if revision is None else f"{model!r} (revision {revision})"
    chain = list(_causes(error))
    if any("trust_remote_code" in str(one) for one in chain):
        return (
            f"The model {model!r} comes with code of its own, which it needs and which is never run here. Use a model of a "
            f"family that transformers has, or wrap what runs it in an object of memorag_integrations.contracts."
        )
    return f"The model {which} could not be loaded: {' '.join(str(error).split())} {_remedy(model, chain)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _remedy(model: str, chain: Sequence[BaseException]) -> str:
    """What to do about an error of the hub's client or of transformers, told by its type and its causes'."""
    from huggingface_hub import errors as hub

    if model.startswith((".", "/", "~")) and not Path(model).expanduser().exists():
        return "There is no such folder: pass the path of one that holds the model, or a repo id like owner/name."
    if any(isinstance(one, hub.GatedRepoError) for one in chain):
        return (
            f"The repository is gated: accept its terms at https://huggingface.co/{model}, then set HF_TOKEN or run "
            f"`hf auth login`; or pass the path of a folder that holds the model."
        )
    if any(isinstance(one, hub.RepositoryNotFoundError) for one in chain):
        return (
            "There is no such repository, or it is private: check the name, and set HF_TOKEN where it needs one; or pass "
            "the path of a folder that holds the model."
        )
    if not any(
        isinstance(one, hub.LocalEntryNotFoundError | hub.OfflineModeIsEnabled | ConnectionError) for one in chain
    ):
        return "Check its files, or get it again."
    return (
        "It is not on this machine and could not be fetched. Pass the path of a folder that holds it, or check the name "
        "and the connection (HF_HUB_OFFLINE=1 forbids one)."
    )


def read_config(folder: Path, error: type[MemoRAGError]) -> dict[str, Any]:
    """config.json of a folder."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise error(f"Expected a model in {folder}, found no config.json there. Is it the right folder?") from None
    except (OSError, ValueError) as caught:
        raise error(f"{path} is not readable JSON ({caught}). Get the model again.") from caught
    if not isinstance(config, dict):
        raise error(f"{path}: expected a JSON object, found {type(config).__name__}. Get the model again.")
    return config


def pick_device(device: str | None, error: type[MemoRAGError]) -> str:
    """The device asked for; None for CUDA, then MPS, then the CPU."""
    import torch

    mps = torch.backends.mps.is_available()
    if device is None:
        return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as caught:
        raise error(f"Expected a device like cpu, cuda, cuda:1 or mps, found {device!r}.") from caught
    if (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not mps):
        raise error(f"This machine's torch has no device {device!r}. Pass device='cpu', or install torch for it.")
    return device


@contextmanager
def quiet_loading(*, warnings: bool = True) -> Iterator[None]:
    """Without transformers' bar over the tensors of a model.

    Args:
        warnings: Whether its warnings are shown, such as that of tensors it does not expect.
    """
    from transformers.utils import logging as transformers_logging

    level, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    if not warnings:
        transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
