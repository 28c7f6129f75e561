"""What the hub says about itself: logs, metrics, traces, health, and what they may hold."""
