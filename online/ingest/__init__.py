"""What clients send: events, stories and accounts, validated and appended to streams."""
