"""Everything about C and cores."""
