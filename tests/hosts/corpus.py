"""A small corpus in our own words, and one bag-of-words vector for both hosts' embedding classes."""

import re
import zlib

import numpy as np

STORY = (
    "Anna kept the mill after the flood. She mended the wheel by lamplight, and nobody helped her.\n\n"
    "Her brother Tomas left for the harbour. He wrote that land was a chain, and that only ships were honest.\n\n"
    "In spring the miller's daughter carried flour to the monastery. The monks paid in candles and in gossip.\n\n"
    "Years later Tomas came back thin and quiet. He asked whether the wheel still turned, and wept when it did.\n\n"
    "Anna answered that a chain holds a boat as well as a dog. They painted the mill blue, the colour of his ship.\n"
)
GUIDE = (
    "The boiler is drained once a year. Close the inlet valve first, then open the tap at the bottom.\n\n"
    "A kettling noise means scale on the heat exchanger. Descale it with citric acid, never with vinegar.\n\n"
    "Pressure below one bar stops the pump. Refill through the loop until the needle stands at one and a half.\n"
)
TEXTS = {"story": STORY, "guide": GUIDE}
DIMENSION = 64


def vector(text: str) -> list[float]:
    """Words hashed into a unit vector; the same in every process."""
    out = np.zeros(DIMENSION)
    for word in re.findall(r"\w+", text.lower()):
        out[zlib.crc32(word.encode()) % DIMENSION] += 1
    return (out / (np.linalg.norm(out) or 1)).tolist() if out.any() else [1.0] + [0.0] * (DIMENSION - 1)
