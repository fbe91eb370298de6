"""The fault tests of hostile, replaced, forked and cared-for stores in a short form; each module says its long one."""

import random

import pytest

from tests.faults import care, forked, hostile, interrupted, replaced
from tests.faults.forgeries import FORGERIES

DOORS = list(hostile.DOORS)


def test_a_forged_store_touches_reads_runs_and_contacts_nothing_outside(tmp_path):
    """Every forgery at two doors, drawn anew for each; `python -m tests.faults.hostile` opens all."""
    chance = random.Random(0)
    wrong = []
    with hostile.examining(tmp_path) as worker:
        for number, forgery in enumerate(FORGERIES):
            found = {door: worker.examine(number, door) for door in chance.sample(DOORS, 2)}
            wrong += [f"{forgery.name} / {door}: {told}" for door, told in found.items() if told]
    assert wrong == []
    assert len(FORGERIES) >= 60


def test_every_door_is_watched(tmp_path):
    """The canary sees what it must: each way to touch it is told."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("a secret")
    before = hostile.facts_of(outside)
    hostile.age(outside)
    aged = hostile.facts_of(outside)
    hostile.age(outside)
    (outside / "secret.txt").read_text()
    assert hostile.facts_of(outside) != aged, "a reading is not seen on this disk"
    (outside / "secret.txt").write_text("another")
    assert hostile.facts_of(outside) != before


@pytest.mark.parametrize("name", replaced.ORDERS)
def test_no_update_is_lost_unannounced(name):
    """So many orders of each six steps; `python -m tests.faults.replaced` takes all."""
    orders = [order for other, order in replaced.sequences() if other == name]
    for order in random.Random(1).sample(orders, 25):
        world = replaced.try_sequence(name, order)
        assert world.problems == [], world.steps


def test_a_store_that_is_cared_for_under_kills_stays_whole(tmp_path):
    counts, problems = care.run(tmp_path / "store", 15, writers=2, readers=4, seed=1)
    # A writer may say that `compact` took a memory that it was about to read; it forms it again, and nothing is lost.
    assert [problem for problem in problems if "is not used, and formed again" not in problem] == []
    assert counts["changes"] > 0
    assert any(name.startswith("killed") for name in counts)


def test_a_forked_child_works_or_refuses(tmp_path):
    counts, problems = forked.fork_in_process(tmp_path / "store", 14)
    assert problems == []
    assert sum(counts.values()) == 14


@pytest.mark.parametrize("case", ["recall 5 4", "aretrieve 1 4", "memorize 3 4"])
def test_an_interrupt_ends_a_call_within_a_second(case):
    ended, gone = interrupted.interrupt(case)
    assert ended <= interrupted.LIMIT
    assert gone <= 3 * interrupted.LIMIT
