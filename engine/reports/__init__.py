"""What a training run shows and keeps: plugins on the lifecycle hooks, each of which can be turned off by name."""
