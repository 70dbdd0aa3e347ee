"""What a run tells: tables, pictures, and the page."""
