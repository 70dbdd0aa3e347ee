"""One model, from bytes to scores: its artifact, session, preprocessing and answer."""
