"""What happened, told: `summary` says it as values, each other module in one form, `formats` picks one."""
