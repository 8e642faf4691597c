"""From a selection to a plan that a person can approve: changes, waves, guards, times, prices and quota."""
