"""The data plane: the runner that drives a request, and the twisted.web resource in front of it."""
