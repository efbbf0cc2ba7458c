"""The machine that Rex runs on: Redis and its bundled server, Java, HTTP, processes, and words for what can go wrong with them."""
