"""What a person sees of a run while it goes on: log lines and progress. Events are the truth."""
