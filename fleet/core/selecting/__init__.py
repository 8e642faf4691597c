"""Which notebooks: from the text of a selector to the selection, and why each is in or out."""
