"""The kinds of store that tests are run on."""

import pytest

#: The kinds of store that promises are tested on.
STORES = ("sqlite", "redis")

#: The contract of a store is tested on these, too.
SCALED_OUT = ("cluster", "sentinel")

#: For a test that uses the fixture `store_url`, or what has it.
ON_ALL_STORES = pytest.mark.parametrize("store_kind", STORES + SCALED_OUT)

#: For tests of the rules: one server of Redis is enough.
ON_BOTH_STORES = pytest.mark.parametrize("store_kind", STORES)
