"""What every process of a fault test would import and load by itself, for the server that they are forked from.

Imported there alone (`set_forkserver_preload`): the models of languages and stop words take longer than all a process
does with a store of this size.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # threads do not come along into a fork

from benchmarks.synthetic import Words
from memorag_integrations import MemoRAG

_memo = MemoRAG(embedder=Words())
_memo.memorize("Ansel hid the lantern at the mill. Brida found it.", progress=False)
_memo.retrieve("Who hid the lantern?")
