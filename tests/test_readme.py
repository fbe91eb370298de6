"""What the README says is run here."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from memorag_integrations.cli import main
from tests.beacon.tiny import make_checkpoint
from tests.tiny_model import make_tiny_model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = README + "".join(page.read_text("utf-8") for page in sorted((ROOT / "docs").glob("*.md")))


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_there_is_something_to_run():
    assert len(blocks("python")) >= 4
    assert any("memorag memorize" in block for block in blocks("bash"))


def test_every_python_block_runs_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert "Anna kept" in capsys.readouterr().out
    assert (tmp_path / "novel.memo").is_dir()


def test_every_memorag_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("notes").mkdir()
    Path("notes/first.md").write_text("# Notes\n\nThe mill wheel broke in autumn.\n", "utf-8")
    make_tiny_model(Path("path/to/model"), chat=True, window=8192, brief=True)
    make_checkpoint(Path("path/to/beacon"), max_position_embeddings=4096)
    Path("diary.md").write_text("The mill was painted blue in spring.\n", "utf-8")
    Path("novel.txt").write_text("Anna kept the mill after the flood. Tomas left for the sea.\n", "utf-8")
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("memorag ")]
    assert len(lines) >= 5
    for line in lines:
        result = CliRunner().invoke(main, shlex.split(line)[1:])
        assert result.exit_code == 0, (line, result.output)
        assert result.output.strip() or "answer" in line or "summarize" in line  # random weights may say nothing


def test_every_command_and_option_is_in_its_help_and_every_command_in_the_readme():
    for name, command in main.commands.items():
        assert f"memorag {name}" in README, name
        shown = CliRunner().invoke(main, [name, "--help"]).output
        assert "Example" in shown, name
        for parameter in command.params:
            if not getattr(parameter, "hidden", False):
                assert any(form in shown for form in (*parameter.opts, parameter.make_metavar(None) or "")), (
                    parameter.name
                )


def test_every_make_target_named_exists():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", PAGES, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_extra_is_in_the_table():
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"]) - {"dev", "test-all"}
    assert extras <= set(re.findall(r"^\| `([a-z-]+)` \|", README, re.MULTILINE))


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"TABLE|TODO|FIXME|XXX", PAGES)


def test_every_linked_file_exists():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), (page.name, link)


def test_benchmarks_named_in_the_readme_say_what_they_do():
    for script in set(re.findall(r"benchmarks/\w+\.py", PAGES)):
        assert (ROOT / script).read_text("utf-8").startswith('"""'), script


@pytest.mark.parametrize(
    "name", ["LlamaIndex", "LangChain", "Neither", "A corpus that changes", "On the command line", "What was measured"]
)
def test_the_sections_a_newcomer_looks_for_are_there(name):
    assert f"\n## {name}\n" in README
