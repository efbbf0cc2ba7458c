"""All stories as columns: a snapshot's, and behind them what the story stream brought since."""
