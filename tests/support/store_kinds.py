"""The kinds of store that tests are run on."""

#: The kinds of store that every promise is tested on.
STORES = ("sqlite", "redis")

#: The contract of a store is tested on these, too.
SCALED_OUT = ("cluster", "sentinel")
