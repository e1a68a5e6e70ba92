"""Which components matter for a capability: probes, sweep, statistics, ranking, targets."""
