"""The only place that knows the New Relic agent."""
