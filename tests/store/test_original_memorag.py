"""A folder that the original wrote is recognised, told apart and left alone; its pickle never runs."""

import json
import os
import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner

from memorag_integrations import MemoRAG
from memorag_integrations.cli import main
from memorag_integrations.errors import StoreError
from tests.conftest import LIGHTHOUSE


class Poison:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


@pytest.fixture
def mark(tmp_path):
    mark = tmp_path / "the pickle ran"
    yield mark
    assert not mark.exists()


@pytest.fixture
def theirs(tmp_path, mark):
    folder = tmp_path / "harry_potter"
    folder.mkdir()
    (folder / "memory.bin").write_bytes(pickle.dumps(Poison(mark)))
    (folder / "index.bin").write_bytes(b"IxFI" + bytes(64))
    (folder / "chunks.json").write_text(json.dumps([LIGHTHOUSE]), "utf-8")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


CALLS = {
    "load": lambda folder: MemoRAG.load(folder),
    "open": lambda folder: MemoRAG.open(folder),
    "save_dir": lambda folder: MemoRAG().memorize(LIGHTHOUSE, save_dir=folder, progress=False),
    "the file itself": lambda folder: MemoRAG.load(folder / "memory.bin"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_it_is_refused_by_name_and_left_as_it_was(theirs, call):
    before = contents(theirs)
    with pytest.raises(StoreError, match="written by the original MemoRAG") as error:
        call(theirs)
    message = str(error.value)
    assert "memory.bin, index.bin, chunks.json" in message
    assert "memory.bin is a pickle" in message
    assert "memorag memorize TEXT --store FOLDER" in message
    assert "chunks.json still has the text" in message
    assert contents(theirs) == before


def test_from_the_shell(theirs):
    result = CliRunner().invoke(main, ["info", "--store", str(theirs)])
    assert result.exit_code == 1
    assert "written by the original MemoRAG" in result.stderr


def test_parts_of_it_are_recognised_too(theirs):
    (theirs / "index.bin").unlink()
    (theirs / "chunks.json").unlink()
    with pytest.raises(StoreError, match=r"original MemoRAG \(memory.bin\)") as error:
        MemoRAG.load(theirs)
    assert "chunks.json" not in str(error.value)


def test_a_folder_with_one_file_of_such_a_name_is_another_folder(tmp_path, mark):
    (tmp_path / "chunks.json").write_text("[]", "utf-8")
    with pytest.raises(StoreError, match=r"Expected a store at .*found chunks.json"):
        MemoRAG.load(tmp_path)
    with pytest.raises(StoreError, match="Expected an empty folder or a store"):
        MemoRAG().memorize(LIGHTHOUSE, save_dir=tmp_path, progress=False)


def test_the_texts_of_its_chunks_can_be_memorized(theirs, tmp_path):
    memo = MemoRAG()
    memo.memorize("\n\n".join(json.loads((theirs / "chunks.json").read_text("utf-8"))), progress=False)
    assert "Silver Hind" in memo.retrieve("Which trawler struck the reef?", 1)[0].text


def test_the_poison_is_one(mark):
    pickle.loads(pickle.dumps(Poison(mark)))
    assert mark.is_dir()
    mark.rmdir()
