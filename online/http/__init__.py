"""The HTTP face of the feed service: routes, the forms of requests and answers, problems, what surrounds them."""
