"""The only place that knows HTTP.

`connect.connect` gives an `api.ModelArts` for each scope; the rest serves these two.
"""
