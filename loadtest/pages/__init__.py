"""What a person sees: pages, pictures, progress."""
