"""Messages and votes in Redis: one server, a cluster, or one that Sentinels watch."""
