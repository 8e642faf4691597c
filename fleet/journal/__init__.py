"""What happened, kept: one SQLite file a run, from which every report is made again.

`writer` has the journals that the engine records to, `reader` gives back what they hold, also while the
run is going on, and `runs` finds them on disk. `sqlite` is the file itself.
"""
