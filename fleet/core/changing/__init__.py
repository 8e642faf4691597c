"""The life of one change. `change` is its table, `life` where it stands, `looks` what a look at it means."""
