"""The beacon memory model (Zhang et al., arXiv 2401.03462; as MemoRAG's memory, arXiv 2409.05591).

`layout` says where beacons stand, `projection` and `rope` what differs from the stock decoder, `checkpoint` how a
published one is read, `decoder` runs the windows.
"""
