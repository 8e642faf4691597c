"""The clients that do the same work: updates with the same body, each answer read and its status checked.

One module a client, with `measure(work) -> Sample`. Each runs in a process of its own (`python -m
benchmarks.rivals`), because memory and CPU are counted by process. `PACKAGES` of a module are what it needs.
"""
