"""From a decorated function to a message that is stashed."""
