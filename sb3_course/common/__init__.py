"""What the algorithms share: collection, estimators, critic, checkpoints."""
