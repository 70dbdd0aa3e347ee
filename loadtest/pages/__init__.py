"""What a person sees: pages, pictures, the terminal."""
