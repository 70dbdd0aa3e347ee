"""The first commands of a new user: a look at data and checkpoint, and a recipe that fits them."""
