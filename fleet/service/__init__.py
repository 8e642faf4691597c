"""The composition root: knows all rooms and puts them together. Faces (command line, later web) call this."""
