"""When: calendars, windows and schedules, waiting until a notebook is idle or stopped, telling its owner."""
