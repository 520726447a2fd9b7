import pytest

from sb3_course.exercises.checking import State
from sb3_course.exercises.themes.natural import FISHER, NATURAL_STEP
from tests.exercises.answers import edited, given, verdict

PRODUCT = [
    """
def fisher_vector_product(logits_of, theta, v):
    theta = theta.detach().requires_grad_()
    log_pi = torch.log_softmax(logits_of(theta), dim=1)
    old = log_pi.detach()
    kl = (old.exp() * (old - log_pi)).sum(dim=1).mean()
    (gradient,) = torch.autograd.grad(kl, theta, create_graph=True)
    return torch.autograd.grad(gradient @ v, theta)[0]
""",
    """
def fisher_vector_product(logits_of, theta, v):
    theta = theta.detach().requires_grad_()
    log_pi = torch.log_softmax(logits_of(theta), dim=1)
    total = torch.zeros_like(v)
    for row in log_pi:
        for x in row:
            (score,) = torch.autograd.grad(x, theta, retain_graph=True)
            total += x.detach().exp() * score * (score @ v)
    return total / len(log_pi)
""",
    """
def fisher_vector_product(logits_of, theta, v):
    theta = theta.detach()
    jacobian = torch.autograd.functional.jacobian(logits_of, theta)
    p = torch.softmax(logits_of(theta), dim=1)
    j_v = jacobian @ v
    return torch.einsum("map,ma->p", jacobian, p * (j_v - (p * j_v).sum(1, True))) / len(p)
""",
    """
def fisher_vector_product(logits_of, theta, v):
    theta = theta.detach().requires_grad_()
    logits = logits_of(theta)
    p = torch.softmax(logits, 1).detach()
    u = torch.zeros_like(logits, requires_grad=True)
    (back,) = torch.autograd.grad(logits, theta, grad_outputs=u, create_graph=True)
    (j_v,) = torch.autograd.grad(back, u, grad_outputs=v, retain_graph=True)
    metric = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    weighted = (metric @ j_v[..., None])[..., 0] / len(p)
    return torch.autograd.grad(logits, theta, grad_outputs=weighted)[0]
""",
]
KL = PRODUCT[0]
CLOSED = PRODUCT[3]
PRODUCT_WRONG = [
    (KL, [(".sum(dim=1).mean()", ".sum()")], "summed"),
    (CLOSED, [(" - p[:, :, None] * p[:, None, :]", "")], "diagonal"),
    (CLOSED, [("torch.diag_embed(p) - p[:, :, None] * p[:, None, :]",
               "torch.eye(p.shape[1]).double()")], "unweighted"),
    (KL, [("log_pi.detach()", "log_pi")], "moving"),
    (KL, [(".mean()", ".mean() * 2")], "doubled"),
    (KL, [("torch.autograd.grad(gradient @ v, theta)[0]",
           "torch.linalg.pinv(torch.stack([torch.autograd.grad(g, theta, retain_graph=True)[0] "
           "for g in gradient])) @ v")], "solved"),
    (PRODUCT[1], [("        for x in row", "        for x in row[row.argmax()][None]"),
                  ("x.detach().exp() * ", "")], "likeliest"),
]  # fmt: skip
PLANTED = given("natural_update")
STEP = edited(PLANTED, ("x.dot(x)", "x.dot(fisher @ x)"))
STEPS = [
    STEP,
    edited(
        STEP,
        ("x.dot(fisher @ x)", "(gradient.flatten().dot(x) - damping * x.dot(x))"),
    ),
    edited(
        STEP,
        ("    beta", "    values, vectors = torch.linalg.eigh(fisher)\n"
         "    lengths = values.clamp(min=0).sqrt() * (vectors.T @ x)\n    beta"),
        ("x.dot(fisher @ x)", "lengths.square().sum()"),
    ),
]  # fmt: skip
STEPS_WRONG = [
    ([("x.dot(fisher @ x)", "gradient.flatten().dot(fisher @ gradient.flatten())")], "of_gradient"),
    ([("2 * target_kl", "target_kl")], "halved"),
    ([("math.sqrt(2 * target_kl / x.dot(fisher @ x).item())",
       "2 * target_kl / x.dot(fisher @ x).item()")], "rootless"),
    ([("torch.linalg.solve(damped, gradient.flatten())", "gradient.flatten()")], "vanilla"),
    ([("theta + step", "theta - step")], "descends"),
    ([("torch.linalg.solve(damped, gradient.flatten())",
       "torch.linalg.pinv(fisher, rtol=1e-9) @ gradient.flatten()")], "undamped"),
    ([("x.dot(fisher @ x)", "x.dot(damped @ x)")], "damped_length"),
]  # fmt: skip


@pytest.mark.parametrize("source", PRODUCT)
def test_right_products(source):
    assert verdict("fisher_vector_product", source).state is State.DONE


@pytest.mark.parametrize(("source", "edits", "flag"), PRODUCT_WRONG)
def test_wrong_products(source, edits, flag):
    found = verdict("fisher_vector_product", edited(source, *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, FISHER.mistakes[flag])


@pytest.mark.parametrize("source", STEPS)
def test_right_steps(source):
    assert verdict("natural_update", source).state is State.DONE


@pytest.mark.parametrize(("edits", "flag"), STEPS_WRONG)
def test_wrong_steps(edits, flag):
    found = verdict("natural_update", edited(STEP, *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, NATURAL_STEP.mistakes[flag])


def test_the_planted_bug_is_to_do():
    found = verdict("natural_update", PLANTED)
    assert found.state is State.TO_DO and "the KL of the step is" in found.lines[0]


def test_a_step_along_g_gains_less():
    found = verdict("natural_update", edited(STEP, *STEPS_WRONG[3][0]))
    assert "of what a step of that KL can" in found.lines[-1]
