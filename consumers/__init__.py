"""What acts on records: subscriptions, sinks, the delivery worker, the log writer."""
