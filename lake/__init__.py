"""The raw lake: who writes it, how its rows are checked, and the models that are kept in it."""
