"""Report a run: its facts, tables, pictures and page."""
