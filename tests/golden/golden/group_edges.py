"""Rows that attend to nothing, NaN and infinities, scores at the ends of the floats."""

import numpy as np

from . import container, field
from .build import R, case
from .container import Group


def spoilt(given, *places, number=np.nan):
    """A random tensor with a number put in some places."""
    values = given.array("float32").astype(np.float64)
    for place in places:
        values[place] = number
    return values


def empty_rows(group, dtype):
    tag = dtype[5:]
    mask = np.ones((5, 6), bool)
    mask[[0, 2]] = False
    shapes = {"query": (2, 2, 5, 4), "key": (2, 2, 6, 4)}
    asked = {"weights": ["per_head", "average"], "internals": ["logsumexp", "max_score"]}
    for name, attn_mask in (("bool", mask), ("float", np.where(mask, 0.25, -np.inf)), ("all", np.zeros((5, 6), bool))):
        case(group, f"empty_rows_{name}_{tag}", {f: R(*s) for f, s in shapes.items()} | {"attn_mask": attn_mask}, dtype,
             **asked)
    case(group, f"empty_rows_masked_stage_{tag}", {f: R(*s) for f, s in shapes.items()} | {"attn_mask": mask}, dtype,
         weights="per_head", weights_stage="masked")
    case(group, f"empty_rows_causal_{tag}", {"query": R(7, 4), "key": R(3, 4)}, dtype, is_causal=True,
         causal_alignment="bottom_right", **asked)
    case(group, f"empty_one_key_{tag}", {"query": R(3, 4), "key": R(1, 4), "attn_mask": np.array([[True], [False],
                                                                                               [True]])}, dtype, **asked)


def masked_numbers(group, dtype):
    """NaN and infinities in keys that no query sees."""
    tag = dtype[5:]
    keep = np.array([[True, False, True, True, False], [True, True, True, False, False]])
    for name, number in (("nan", np.nan), ("infinity", np.inf), ("minus_infinity", -np.inf)):
        key = spoilt(R(2, 2, 5, 4), (0, slice(None), 1), (1, slice(None), 3), number=number)
        value = spoilt(R(2, 2, 5, 4), (0, slice(None), 4), (1, slice(None), 3), number=number)
        inputs = {"query": R(2, 2, 3, 4), "key": key, "value": value}
        for how, masked in (("padding", {"key_padding_mask": keep}), ("bool", {"attn_mask": keep[:, None, None]}),
                            ("float", {"attn_mask": np.where(keep, 0, -np.inf)[:, None, None]})):
            case(group, f"masked_{name}_{how}_{tag}", inputs | masked, dtype, weights=["per_head", "average"])
    key = spoilt(R(1, 2, 6, 4), (0, slice(None), slice(4, 6)))
    case(group, f"masked_nan_key_lengths_{tag}", {"query": R(1, 2, 3, 4), "key": key}, dtype, key_lengths=[4],
         weights="per_head", internals=["logsumexp", "max_score"])
    case(group, f"masked_nan_window_{tag}", {"query": R(1, 2, 3, 4), "key": key}, dtype, window={"right": 1},
         weights="per_head")
    case(group, f"masked_nan_value_norm_{tag}", {"query": R(1, 2, 3, 4), "key": key}, dtype, key_lengths=[4],
         analyses=["entropy", "received", "head_distance"], weights="max")


def row_by_row(request, tensors):
    """Each causal query alone with the keys that it sees: what torch makes of a key that only some rows see."""
    query, key, value = field.three(tensors)
    rows = []
    for i in range(query.shape[2]):
        part = {"query": query[:, :, i : i + 1], "key": key[:, :, : i + 1], "value": value[:, :, : i + 1]}
        rows.append(field.solve_raw({"softcap": request.get("softcap", 0)}, part).output)
    solution = field.solve_raw(request, tensors)
    solution.output = np.concatenate(rows, axis=2)
    return solution


def later_numbers(group, dtype):
    """A key that earlier rows do not see spoils the later rows only."""
    tag = dtype[5:]
    for name, number in (("nan", np.nan), ("infinity", np.inf)):
        for where in ("key", "value"):
            inputs = {"query": R(1, 2, 6, 4), "key": R(1, 2, 6, 4), "value": R(1, 2, 6, 4)}
            inputs[where] = spoilt(inputs[where], (0, 0, 3, 2), number=number)
            if where == "key":
                inputs["query"] = np.abs(inputs["query"].array("float32")).astype(np.float64) + 0.125
            request = {"is_causal": True, "weights": "none"}
            tensors = {field_: container.array_of(given, dtype) for field_, given in inputs.items()}
            case(group, f"later_{name}_in_{where}_{tag}", inputs, dtype, solution=row_by_row(request, tensors),
                 **request)


def later_numbers_in_long_inputs(group, dtype):
    """The same where an implementation works in blocks; weights do not know of values."""
    tag = dtype[5:]
    for L, place in ((70, 40), (150, 149), (150, 65)):
        inputs = {"query": R(1, 1, L, 4), "key": R(1, 1, L, 4)}
        inputs["value"] = spoilt(R(1, 1, L, 3), (0, 0, place, 1))
        tensors = {name: container.array_of(given, dtype) for name, given in inputs.items()}
        for name, weights in (("with_weights", "average"), ("without", "none")):
            request = {"is_causal": True, "weights": weights}
            if weights == "average":
                request["query_range"] = [place - 1, place + 1]
            case(group, f"later_nan_{place}_of_{L}_{name}_{tag}", inputs, dtype,
                 solution=row_by_row(request, tensors), **request)


def taking_part(group, dtype):
    tag = dtype[5:]
    for name, number in (("nan", np.nan), ("infinity", np.inf)):
        query = np.abs(R(1, 2, 3, 4).array("float32")).astype(np.float64) + 0.125
        key = spoilt(R(1, 2, 5, 4), (0, 1, 2, 0), number=number)
        case(group, f"{name}_key_makes_its_rows_nan_{tag}", {"query": query, "key": key, "value": R(1, 2, 5, 4)}, dtype,
             weights="per_head")
    query = spoilt(R(1, 2, 3, 4), (0, 0, 1, 0))
    case(group, f"nan_query_makes_its_row_nan_{tag}", {"query": query, "key": R(1, 2, 5, 4)}, dtype, weights="per_head")
    value = spoilt(R(1, 2, 5, 4), (0, 1, 2, 3))
    case(group, f"nan_value_stays_in_its_column_{tag}", {"query": R(1, 2, 3, 4), "key": R(1, 2, 5, 4), "value": value},
         dtype, weights="per_head")
    case(group, f"plus_infinity_in_a_mask_{tag}", {"query": R(1, 2, 3, 4), "key": R(1, 2, 5, 4), "attn_mask":
                                                   spoilt(R(1, 3, 5), (0, 1, 2), number=np.inf)}, dtype,
         weights="per_head")


def extremes(group):
    """Weight exactly 0 without a mask, equal scores, sharp and flat rows."""
    query = np.full((1, 1, 2, 1), 30.0)
    key = np.array([40.0, 39.0, -40.0, 40.0]).reshape(1, 1, 4, 1)
    case(group, "sharp_rows", {"query": query, "key": key}, scale=1, weights="per_head")
    case(group, "flat_rows", {"query": np.zeros((3, 4)), "key": R(7, 4)}, weights="per_head", analyses=["entropy"])
    case(group, "big_scores", {"query": R(4, 8), "key": R(9, 8)}, scale=100, weights="per_head",
         internals=["logsumexp", "max_score"])
    case(group, "big_scores_64", {"query": R(4, 8), "key": R(9, 8)}, "float64", scale=500, weights="per_head")
    case(group, "tiny_scores", {"query": R(4, 8), "key": R(9, 8)}, scale=1e-30, weights="per_head")
    case(group, "huge_values", {"query": R(3, 4), "key": R(5, 4), "value": R(5, 4).array("float32") * 1e30},
         weights="none")
    case(group, "weight_of_zero_hides_infinity", {"query": query, "key": key, "value": np.array(
        [1.0, 2.0, np.inf, 4.0]).reshape(1, 1, 4, 1)}, solution=zero_weight(query, key), scale=1, weights="per_head")
    query = R(1, 1, 2, 1).array("float32")
    mask = np.array([0.0, -1e30, 0.0, 0.0])
    hidden = {"query": query, "key": key, "attn_mask": mask}
    value = np.array([1.0, np.nan, 3.0, 4.0]).reshape(1, 1, 4, 1)
    case(group, "huge_negative_mask_hides_nan_value", hidden | {"value": value},
         solution=field.solve_raw({}, hidden | {"value": np.nan_to_num(value)}), weights="per_head")


def zero_weight(query, key):
    """torch with a harmless value where the weight is exactly 0."""
    value = np.array([1.0, 2.0, 0.0, 4.0]).reshape(1, 1, 4, 1)
    return field.solve_raw({"scale": 1}, {"query": query, "key": key, "value": value})


def make():
    group = Group("edges")
    for dtype in ("float32", "float64"):
        for part in (empty_rows, masked_numbers, later_numbers, later_numbers_in_long_inputs, taking_part):
            part(group, dtype)
    extremes(group)
    return group
