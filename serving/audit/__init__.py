"""Asks the expert afterwards about answers that the screen gave alone, and watches the promise with it."""
