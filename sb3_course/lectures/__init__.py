"""The lectures' claims, measured by this library's own classes: ``sb3-course figures``.

Each figure is a module with

===============================  ================================================================
``TITLE, CLAIM, EQUATION``       what is claimed, in words and as a formula
``CAPTION``                      what is drawn, with the kind of every interval
``Config``                       seed, sizes and settings; ``Config()`` is the full setting and
                                 ``QUICK`` the one of ``--quick``
``measure(config, note)``        the numbers, as one tidy table
``draw(table)``                  the figure, from nothing but that table
``conclude(table)``              the sentence, whether the claim holds, and its numbers
===============================  ================================================================

so that a reader changes a number and runs again:

.. code-block:: python

    from sb3_course.lectures.kl_expansion import Config, conclude, draw, measure

    table = measure(Config(n_seeds=3))
    print(conclude(table).sentence)
    draw(table).savefig("kl.png")
"""

from sb3_course.common.errors import UserError, unknown

FIGURES = (
    "estimator_variance",
    "on_policy",
    "natural_path",
    "kl_expansion",
    "critic_bias",
    "advantage_weight",
    "compounding_error",
    "likelihood",
    "parallel_actors",
)
"""In the order of the lectures."""


def check_names(names: list[str]) -> list[str]:
    """Give the figures that were asked for, in the order of the lectures; all for none.

    :param names: Names, in any order
    :return: Names out of :data:`FIGURES`
    :raises UserError: There is no such figure; says which, the nearest name, and all of them
    """
    for name in names:
        if name not in FIGURES:
            raise UserError(unknown("figure", name, FIGURES))
    return [name for name in FIGURES if name in names or not names]
