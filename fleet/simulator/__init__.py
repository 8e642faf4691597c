"""The cloud in a box: a ModelArts notebook service for demos, tests, benchmarks and rehearsals.

``seed.make_cloud`` builds a reproducible fleet, ``app.serve`` puts it behind a real socket,
``audit`` proves afterwards from the request log what happened to it. The rules of the API are
stated here a second time, from the vendor's pages, and nothing of the client is imported, so that
a misreading of the API cannot agree with itself.
"""
