"""Tasks: what is learned. Each joins networks and losses into a few pure functions."""
