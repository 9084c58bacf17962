"""Boards on many hosts, by Dask's `distributed` (extra `lab`): what runs where, and what crosses the network.

A scheduler knows the hosts; each host's worker offers the boards of its bench file, one resource each, and does a job
with the ordinary pool of worker processes, so that UART bytes never cross the network; the orchestrator alone writes
results. What crosses is JSON text (`messages`), a firmware and a model image. `executor` and `host` import
distributed; nothing else does.
"""
