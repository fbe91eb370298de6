import pytest

from memorag_integrations import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.progress import reporting
from tests.conftest import HashEmbedder


def test_a_function_is_called_with_stage_done_and_total(documents):
    steps = []
    memo = MemoRAG(embedder=HashEmbedder(), passage_size=130)
    memo.memorize(documents, progress=lambda stage, done, total: steps.append((stage, done, total)))
    stages = list(dict.fromkeys(stage for stage, _, _ in steps))
    assert stages == ["indexing terms", "embedding passages", "forming memories"]
    for wanted in stages:
        counts = [(done, total) for stage, done, total in steps if stage == wanted]
        assert counts == sorted(counts)
        assert len({total for _, total in counts}) == 1
        assert counts[-1][0] == counts[-1][1] > 0
    assert steps[-1] == ("forming memories", 3, 3)


@pytest.mark.parametrize("progress", [True, False])
def test_quick_work_and_silence_print_nothing(documents, capfd, progress):
    MemoRAG().memorize(documents, progress=progress)
    assert capfd.readouterr() == ("", "")


def test_long_work_shows_a_bar_a_stage_on_standard_error(capfd, monkeypatch):
    import tqdm.auto

    real = tqdm.auto.tqdm
    monkeypatch.setattr(tqdm.auto, "tqdm", lambda **options: real(**{**options, "delay": 0}))
    with reporting(True) as report:
        for done in range(1, 4):
            report("reading", done, 3)
        report("writing", 5, 10)
    out, err = capfd.readouterr()
    assert out == ""
    assert "reading" in err
    assert "3/3" in err
    assert "5/10" in err


def test_a_stage_that_begins_anew_has_a_bar_of_its_own(monkeypatch):
    import tqdm.auto

    made, real = [], tqdm.auto.tqdm
    monkeypatch.setattr(tqdm.auto, "tqdm", lambda **options: made.append(real(**options)) or made[-1])
    with reporting(True) as report:
        for total in (3, 5):
            for done in range(total + 1):
                report("memorizing", done, total)
    assert [(bar.n, bar.total, bar.disable) for bar in made] == [(3, 3, True), (5, 5, True)]


def test_bars_are_closed_when_the_work_fails(monkeypatch):
    import tqdm.auto

    made, real = [], tqdm.auto.tqdm
    monkeypatch.setattr(tqdm.auto, "tqdm", lambda **options: made.append(real(**options)) or made[-1])

    def fails(document):
        raise RuntimeError("the caller's own split")

    with pytest.raises(InputError, match="RuntimeError: the caller's own split"), reporting(True) as report:
        MemoRAG().memorize("text", split=fails, progress=report("reading", 1, 3) or report)
    assert made[0].disable, "what tqdm sets when a bar is closed"
