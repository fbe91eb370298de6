"""Importing the package, or planning's arithmetic, loads neither torch nor transformers."""

import subprocess
import sys


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, memorag_integrations, memorag_integrations.registry, memorag_integrations.planner, "
        "memorag_integrations.prompts.beacon, memorag_integrations.prompts.memorag; "
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
