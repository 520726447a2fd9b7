"""The homeworks of CS285 (fall 2023) as stored experiments: imitation, and policy gradients."""
