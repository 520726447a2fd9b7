"""Tianshou's learners in an environment of their own; ``tianshou_peer.py`` starts this file.

It reads lines ``NAME UNITS`` and answers each with the environment steps that it learned from and
the CPU and wall seconds that this took, as JSON. Everything that costs Tianshou time beyond its
training loop is off: progress bars, logs, tests; the values for GAE come from one pass.
"""

import json
import sys
import time
import warnings
from importlib.metadata import version
from typing import Any

import envpool
import torch as th
from tianshou.algorithm import A2C, NPG, Reinforce
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic
from torch import nn
from torch.distributions import Distribution, Independent, Normal


def gaussian(parameters: tuple[th.Tensor, th.Tensor]) -> Distribution:
    """Return the distribution of the actor's mean and deviation."""
    return Independent(Normal(*parameters), 1)


def learner(name: str, env_id: str, n_envs: int, threads: int, steps: int) -> Any:
    """Make a function of environment steps that learns from at least so many."""
    env = envpool.make_gymnasium(env_id, num_envs=n_envs, seed=0, num_threads=threads)
    settings = {"state_shape": env.observation_space.shape, "hidden_sizes": (64, 64)}
    actor = ContinuousActorProbabilistic(
        preprocess_net=Net(**settings, activation=nn.Tanh),
        action_shape=env.action_space.shape,
        unbounded=True,
    )
    policy = ProbabilisticActorPolicy(
        actor=actor, dist_fn=gaussian, action_space=env.action_space, action_scaling=True
    )
    adam = AdamOptimizerFactory(lr=1e-3)
    if name.startswith("REINFORCE"):
        algorithm: Any = Reinforce(policy=policy, optim=adam)
    else:
        critic = ContinuousCritic(preprocess_net=Net(**settings, activation=nn.Tanh))
        common = {"policy": policy, "critic": critic, "optim": adam, "max_batchsize": steps}
        if name.startswith("NPG"):
            algorithm = NPG(**common, optim_critic_iters=10, trust_region_size=0.01)
        else:
            algorithm = A2C(**common, ent_coef=0.0, max_grad_norm=0.5)
    collector = Collector(algorithm, env, VectorReplayBuffer(steps, n_envs))

    def learn(units: int) -> int:
        params = OnPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=units,
            collection_step_num_env_steps=steps,
            batch_size=None,
            verbose=False,
            show_progress=False,
        )
        algorithm.run_training(params)
        return int(collector.collect_step)  # counted anew in each training

    return learn


def main() -> None:
    """Answer until the input ends; the argument is JSON: name → environment and batch."""
    warnings.filterwarnings("ignore")
    th.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    learners = {name: learner(name, **made) for name, made in json.loads(sys.argv[1]).items()}
    packages = ("tianshou", "torch", "numpy", "gymnasium", "envpool")
    print(json.dumps({name: version(name) for name in packages}), file=answers, flush=True)
    for line in sys.stdin:
        name, _, units = line.strip().rpartition(" ")
        cpu, wall = time.process_time(), time.perf_counter()
        done = learners[name](int(units))
        turn = [done, time.process_time() - cpu, time.perf_counter() - wall]
        print(json.dumps(turn), file=answers, flush=True)


if __name__ == "__main__":
    main()
