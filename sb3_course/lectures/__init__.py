"""The lectures' claims, measured with this library's own classes: ``sb3-course figures``.

Each figure is a module with

===============================  ================================================================
``TITLE, CLAIM, EQUATION``       the claim in words and as a formula
``CAPTION``                      description of the drawing, with the kind of every interval
``Config``                       seed, sizes and settings; ``Config()`` is the full setting and
                                 ``QUICK`` that of ``--quick``
``measure(config, note)``        the numbers as one tidy table
``draw(table)``                  the figure, drawn from this table alone
``conclude(table)``              the conclusion in a sentence, whether the claim holds, and its
                                 numbers
===============================  ================================================================

so that it is easy to change a setting and run again:

.. code-block:: python

    from sb3_course.lectures.kl_expansion import Config, conclude, draw, measure

    table = measure(Config(n_seeds=3))
    print(conclude(table).sentence)
    draw(table).savefig("kl.png")

The others are ``toolkit`` (shared helpers), ``gradients`` (sampled and exact gradients) and ``run``
(figures, their files and the page).
"""

from sb3_course.common.errors import UserError, unknown

FIGURES = (
    "estimator_variance",
    "on_policy",
    "natural_path",
    "parameter_scales",
    "kl_expansion",
    "critic_bias",
    "advantage_weight",
    "compounding_error",
    "likelihood",
    "parallel_actors",
)
"""Names of the figures in the order of the lectures."""


def check_names(names: list[str]) -> list[str]:
    """Check names and return them in the order of the lectures; an empty list stands for all.

    :param names: Names in any order
    :return: Names from :data:`FIGURES`
    :raises UserError: If a name is unknown; the message contains the nearest name and all names
    """
    for name in names:
        if name not in FIGURES:
            raise UserError(unknown("figure", name, FIGURES))
    return [name for name in FIGURES if name in names or not names]
