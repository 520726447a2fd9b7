"""Formulas of the exercises in TeX: the worksheet, a Python file, has them in plain text."""

import re

TEX = {
    "Q̂_t = Σ_{t'≥t} γ^(t'-t) r_t'": r"\hat Q_t = \sum_{t' \ge t} \gamma^{t'-t} r_{t'}",
    "Â_t = Σ_{l≥0} (γλ)^l δ_{t+l}": r"\hat A_t = \sum_{l \ge 0} (\gamma\lambda)^l \delta_{t+l}",
    "δ_t = r_t + γ V(s_{t+1}) - V(s_t)": r"\delta_t = r_t + \gamma V(s_{t+1}) - V(s_t)",
    "b(s, a)": "b(s, a)",
    "Σ_{t'≥t} γ^(t'-t) w_t' r_t'": r"\sum_{t' \ge t} \gamma^{t'-t} w_{t'} r_{t'}",
    "w_t'": "w_{t'}",
    "r_t'": "r_{t'}",
    "F v": "F v",
    "F = E_s E_a [∇log π(a|s) ∇log π(a|s)ᵀ]": (
        r"F = \mathbb{E}_s \mathbb{E}_a [\nabla \log \pi(a|s) \, \nabla \log \pi(a|s)^\top]"
    ),
    "θ + α 1/K Σ_i Σ_t ∇log π(a_t|s_t) (R_i - b_i)": (
        r"\theta + \alpha \frac{1}{K} \sum_i \sum_t \nabla \log \pi(a_t|s_t) (R_i - b_i)"
    ),
    "b_i": "b_i",
    "θ + α 1/(T N) Σ ∇log π(a_t|s_t) Q̂_t": (
        r"\theta + \alpha \frac{1}{T N} \sum \nabla \log \pi(a_t|s_t) \hat Q_t"
    ),
    "Q̂": r"\hat Q",
    "θ + α 1/M Σ ∇log π(a|s) (Q̂ - V(s))": (
        r"\theta + \alpha \frac{1}{M} \sum \nabla \log \pi(a|s) (\hat Q - V(s))"
    ),
    "½ (V(s) - y)²": r"\tfrac{1}{2} (V(s) - y)^2",
    "y = r + γ V(s')": r"y = r + \gamma V(s')",
    "θ + α 1/K Σ_i w_i R_i Σ_t ∇log π(a_t|s_t)": (
        r"\theta + \alpha \frac{1}{K} \sum_i w_i R_i \sum_t \nabla \log \pi(a_t|s_t)"
    ),
    "w_i": "w_i",
    "θ + β x": r"\theta + \beta x",
    "(F + λI) x = g": r"(F + \lambda I) x = g",
    "β": r"\beta",
    "ε": r"\varepsilon",
    "½ β² xᵀFx = ε": r"\tfrac{1}{2} \beta^2 x^\top F x = \varepsilon",
}
_FORMULA = re.compile(
    "|".join(rf"(?<!\w){re.escape(plain)}(?!\w)" for plain in sorted(TEX, key=len, reverse=True))
)


def typeset(text: str) -> str:
    """Write the formulas of a text in TeX, each as a whole.

    :param text: Plain text
    :return: Markdown
    """
    return _FORMULA.sub(lambda found: f"${TEX[found[0]]}$", text)
