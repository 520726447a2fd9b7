"""Experts and files that the tests make themselves."""

import itertools
import pickle

import numpy as np


def balance(obs):
    """Keep CartPole's pole up: a return of 500."""
    return (obs[:, 2] + obs[:, 3] > 0).astype(np.int64)


def homework_expert(nonlinearity="tanh", sizes=(3, 5, 4, 2), seed=0, name="GaussianPolicy"):
    """An expert as CS285's homework pickles it."""
    rng = np.random.default_rng(seed)
    layers = [
        {"AffineLayer": {"W": rng.normal(size=pair), "b": rng.normal(size=(1, pair[1]))}}
        for pair in itertools.pairwise(sizes)
    ]
    mean = rng.normal(size=(1, sizes[0]))
    return {
        name: {
            "hidden": {"FeedforwardNet": {f"layer_{2 * i}": x for i, x in enumerate(layers[:-1])}},
            "out": layers[-1],
            "logstdevs_1_Da": np.zeros((1, sizes[-1])),
            "obsnorm": {
                "Standardizer": {
                    "count": np.array(9.0),
                    "mean_1_D": mean,
                    "meansq_1_D": mean**2 + rng.uniform(0.5, 2, size=mean.shape),
                }
            },
        },
        "nonlin_type": nonlinearity,
    }


def homework_paths(lengths=(7, 5), obs_size=3, action_size=2, seed=0):
    """Demonstrations as CS285's homework pickles them."""
    rng = np.random.default_rng(seed)
    paths = []
    for length in lengths:
        obs = rng.normal(size=(length + 1, obs_size))
        paths.append(
            {
                "observation": obs[:-1],
                "action": rng.normal(size=(length, action_size)).astype(np.float32),
                "reward": rng.normal(size=length),
                "next_observation": obs[1:],
                "terminal": np.arange(1, length + 1) == length,
            }
        )
    return paths


def write(path, content, protocol=pickle.DEFAULT_PROTOCOL):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path
