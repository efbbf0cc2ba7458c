"""What reads the streams in the background: consumer groups, dead letters, and the archive into the lake."""
