"""Adds a case to a group: solve by torch, hold against ONNX, and keep what the request asks for."""

from . import answers, container, field, onnxcheck, params

_seed = [0]


def R(*shape):
    """The next random input."""
    _seed[0] += 1
    return container.Random(_seed[0], *shape)


def case(group, name, inputs, dtype="float32", solution=None, **request):
    """A raw case, or one with `params` when inputs name a state dict's file under "params"."""
    inputs = dict(inputs)
    state = inputs.pop("params", None)
    if dtype == "float64":
        request["dtype"] = "float64"
    tensors = {name_: container.array_of(given, dtype) for name_, given in inputs.items()}
    checked = []
    if state:
        solution, checked = params.solve(request, tensors, state)
    elif solution is None:
        solution = field.solve_raw(request, tensors)
        checked = onnxcheck.check(name, request, tensors, dtype, solution, len(group.cases))
    batched = tensors["query"].ndim > 2
    found = answers.answer(request, solution, batched)
    group.add(name, dtype, request, inputs, state and state.file, found, checked)
