"""The same computation by ONNX's operator Attention, opsets 23 to 25: ONNX Runtime and ONNX's reference evaluator.

Where they leave the schema's text, the text decides; KNOWN names every place where they do:
- qk_matmul_output_mode 0 is "raw QK matmul result"; with softcap, the reference evaluator (and ONNX Runtime at opset 25,
  which inlines the operator's function) hands out the softcapped scores;
- mode 2 "includes the attention mask"; ONNX Runtime's kernel of opsets 23 and 24 in float32 has the lowest finite float
  where the mask says -Infinity.
- a last axis of 1 in attn_mask: "broadcastable", and from opset 24 also "can be shorter and will be padded with -inf";
  both engines pad. The contract broadcasts it as NumPy and torch do, so such cases are torch's alone.
- NaN and infinities in keys that a mask hides: both engines let them through (a NaN score plus -Infinity is NaN).
The four numbers mean the same in the text of all three opsets: 0 raw, 1 softcapped, 2 with masks, 3 after softmax.
"""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

STAGES = ("raw", "softcapped", "masked", "softmax")
EXPRESSIBLE = {"num_heads", "num_kv_heads", "is_causal", "window", "key_lengths", "scale", "softcap"}
NOT_EXPRESSIBLE = {"key_padding_mask", "segment_ids", "prefix_length", "alibi_slopes", "sinks", "causal_alignment"}
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}

onnxruntime.set_default_logger_severity(4)


def can(request, tensors):
    """Whether the operator has words for all of this."""
    asked = set(request) | set(tensors)
    if asked & NOT_EXPRESSIBLE or request.get("mask_convention") == "ignore" or request.get("scale", 1) <= 0:
        return False
    mask = tensors.get("attn_mask")
    heads = request.get("num_heads") or tensors["query"].shape[1]
    if mask is not None and mask.shape[-1] == 1 and tensors.get("key", tensors["query"]).shape[-2] > 1:
        return False
    return mask is None or mask.ndim != 3 or mask.shape[0] in (1, heads)


def opset_of(request, turn):
    if "window" in request:
        return 25
    return (24, 25)[turn % 2] if "key_lengths" in request else (23, 24, 25)[turn % 3]


def feeds_of(request, tensors, dtype):
    query = tensors["query"]
    key = tensors.get("key", query)
    value = tensors.get("value", key)
    feeds = {name: (x[None] if x.ndim == 2 else x) for name, x in (("Q", query), ("K", key), ("V", value))}
    for name, field in (("attn_mask", "attn_mask"), ("past_key", "past_key"), ("past_value", "past_value")):
        if field in tensors:
            feeds[name] = tensors[field]
    if "key_lengths" in request:
        feeds["nonpad_kv_seqlen"] = np.array(request["key_lengths"], np.int64)
    return {name: x.astype(dtype) if x.dtype.kind == "f" else x for name, x in feeds.items()}


def attributes_of(request, rank, mode):
    attributes = {"qk_matmul_output_mode": mode}
    if rank < 4:
        heads = request.get("num_heads", 1)
        attributes |= {"q_num_heads": heads, "kv_num_heads": request.get("num_kv_heads", heads)}
    for field in ("scale", "softcap"):
        if field in request:
            attributes[field] = float(request[field])
    attributes["is_causal"] = int(request.get("is_causal", False))
    for side, value in request.get("window", {}).items():
        attributes[f"{side}_window_size"] = -1 if value is None else value
    return attributes


def model_of(request, feeds, rank, mode, opset):
    order = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")
    names = [name if name in feeds else "" for name in order]
    while names[-1] == "":
        names.pop()
    kinds = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("float64"): TensorProto.DOUBLE,
             np.dtype("bool"): TensorProto.BOOL, np.dtype("int64"): TensorProto.INT64}
    kind = kinds[feeds["Q"].dtype]
    present = ["present_key", "present_value"] if "past_key" in feeds else ["", ""]
    outputs = ["Y", *present, "scores"]
    node = helper.make_node("Attention", names, outputs, **attributes_of(request, rank, mode))
    inputs = [helper.make_tensor_value_info(name, kinds[feeds[name].dtype], feeds[name].shape) for name in names if name]
    graph = helper.make_graph([node], "attention", inputs,
                              [helper.make_tensor_value_info(name, kind, None) for name in outputs if name])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def same(found, expected, tolerance):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return found.shape == expected.shape and np.allclose(found, expected, tolerance, tolerance, equal_nan=True)


def known(engine, opset, dtype, request, mode):
    """Where an engine is known to leave the schema's text."""
    softcap_in_raw = mode == 0 and request.get("softcap") and (engine == "onnx-reference" or opset == 25)
    lowest_for_infinity = mode == 2 and engine == "onnxruntime" and opset < 25 and dtype == "float32"
    return softcap_in_raw or lowest_for_infinity


def run(engine, model, feeds):
    if engine == "onnx-reference":
        return ReferenceEvaluator(model).run(None, feeds)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def check(name, request, tensors, dtype, solution, turn):
    """Holds torch's solution against both engines; returns who agreed. Raises where one does not, and is not KNOWN."""
    if not can(request, tensors) or solution.hides:
        return []
    opset = opset_of(request, turn)
    stage = request.get("weights_stage", "softmax")
    mode, rank = STAGES.index(stage), tensors["query"].ndim
    feeds = feeds_of(request, tensors, dtype)
    agreed = []
    for engine in ("onnxruntime", "onnx-reference"):
        if engine == "onnxruntime" and dtype == "float64":
            continue  # it scales in float32
        try:
            found = run(engine, model_of(request, feeds, rank, mode, opset), feeds)
        except Exception as error:  # an engine that refuses a case says nothing about it
            print(f"  {name}: {engine} {opset} refuses: {str(error)[:160]}")
            continue
        expected = solution.output
        wrong = [] if same(found[0], expected, TOLERANCE[dtype]) else ["output"]
        if not known(engine, opset, dtype, request, mode):
            wrong += [] if same(found[-1], solution.stages[stage], TOLERANCE[dtype]) else [stage]
        if wrong:
            raise ValueError(f"{name}: {engine} {opset} disagrees with torch about {wrong}")
        agreed.append(f"{engine} opset {opset}")
    return agreed
