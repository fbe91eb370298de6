"""Fault tests start processes of their own, and set PYTHONPATH for them: it is put back after each."""

import pytest


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
