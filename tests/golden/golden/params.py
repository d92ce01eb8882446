"""State dicts saved by the safetensors package, and the modules that they came from."""

import dataclasses

import numpy as np
import torch
from safetensors.torch import save_file

from . import container, field


@dataclasses.dataclass
class State:
    """A module with the file that its state dict was saved to."""

    file: str
    module: torch.nn.Module
    names: tuple = ()  # of q, k, v and out in a hand-written module; () is nn.MultiheadAttention


class HandWritten(torch.nn.Module):
    """Multi-head attention as people write it themselves, over torch's scaled_dot_product_attention."""

    def __init__(self, names, width, heads, kv_heads, value_width, bias):
        super().__init__()
        self.names, self.heads, self.kv_heads = names, heads, kv_heads
        head = width // heads
        sizes = ((width, width), (width, kv_heads * head), (width, kv_heads * value_width), (heads * value_width, width))
        for name, (inside, outside) in zip(names, sizes):
            setattr(self, name, torch.nn.Linear(inside, outside, bias=bias))

    def forward(self, query, key, value, bias, scale):
        linears = [getattr(self, name) for name in self.names]
        heads = (self.heads, self.kv_heads, self.kv_heads)
        q, k, v = (linear(x).unflatten(-1, (count, -1)).transpose(1, 2)
                   for linear, x, count in zip(linears, (query, key, value), heads))
        context = torch.nn.functional.scaled_dot_product_attention(q, k, v, bias, scale=scale, enable_gqa=True)
        return linears[3](context.transpose(1, 2).flatten(2))


def save(name, module, dtype):
    module = module.to(torch.float64 if dtype == "float64" else torch.float32)
    state = {key: tensor.detach().clone().contiguous() for key, tensor in module.state_dict().items()}
    file = f"{name}.safetensors"
    container.DATA.mkdir(exist_ok=True)
    save_file(state, str(container.DATA / file))
    (container.DATA / file).chmod(0o644)
    return file


def torch_mha(name, width, heads, dtype="float32", **options):
    """nn.MultiheadAttention with biases that are not the zeros that it starts with."""
    torch.manual_seed(len(name) * 1000 + width)
    module = torch.nn.MultiheadAttention(width, heads, batch_first=True, **options)
    with torch.no_grad():
        for key, tensor in module.named_parameters():
            if "bias" in key:
                tensor.uniform_(-0.5, 0.5)
    return State(save(name, module, dtype), module.double().eval())


def hand_written(name, names, width, heads, kv_heads=None, value_width=None, bias=True, dtype="float32"):
    torch.manual_seed(len(name) * 1000 + width)
    module = HandWritten(names, width, heads, kv_heads or heads, value_width or width // heads, bias)
    return State(save(name, module, dtype), module.double().eval(), names)


def projections(state):
    """(weight, bias) of query, key, value and output; bias may be None."""
    module = state.module
    if state.names:
        linears = [getattr(module, name) for name in state.names]
        return [(linear.weight, linear.bias) for linear in linears]
    if module.in_proj_weight is not None:
        weights = module.in_proj_weight.chunk(3)
    else:
        weights = module.q_proj_weight, module.k_proj_weight, module.v_proj_weight
    biases = module.in_proj_bias.chunk(3) if module.in_proj_bias is not None else (None,) * 3
    return [*zip(weights, biases), (module.out_proj.weight, module.out_proj.bias)]


def tail_of(module, N, heads):
    """The columns of add_bias_kv and add_zero_attn, (key, value), each (N, H, columns, D)."""
    columns = []
    if getattr(module, "bias_k", None) is not None:
        columns.append([field.split(np.repeat(bias.detach().numpy(), N, axis=0), heads)
                        for bias in (module.bias_k, module.bias_v)])
    if getattr(module, "add_zero_attn", False):
        D = module.embed_dim // heads
        columns.append([np.zeros((N, heads, 1, D))] * 2)
    if not columns:
        return None
    return [np.concatenate(part, axis=2) for part in zip(*columns)]


@torch.no_grad()
def solve(request, tensors, state):
    """The parts by torch's linear and attention, held against the module's own forward."""
    parts = projections(state)
    heads, kv_heads = request["num_heads"], request.get("num_kv_heads", request["num_heads"])
    given = field.three(tensors)
    query, key, value = (
        field.split(torch.nn.functional.linear(torch.from_numpy(x), weight, bias).numpy(), count)
        for x, (weight, bias), count in zip(given, parts, (heads, kv_heads, kv_heads)))
    tail = None if state.names else tail_of(state.module, query.shape[0], heads)
    solution = field.solve(request, tensors, query, key, value, tail)
    N, H, L, Dv = solution.context.shape
    joined = torch.from_numpy(solution.context.transpose(0, 2, 1, 3).reshape(N, L, H * Dv))
    solution.output = torch.nn.functional.linear(joined, *parts[3]).numpy()
    solution.out_weight = parts[3][0].numpy()
    return solution, against_module(request, tensors, state, given, solution)


def against_module(request, tensors, state, given, solution):
    """Who else agreed. nn.MultiheadAttention has no words for past keys, softcap, scale and sinks."""
    if {"past_key", "softcap", "scale", "sinks"} & (set(request) | set(tensors)):
        return []
    T = given[1].shape[1]
    bias = torch.from_numpy(np.ascontiguousarray(solution.bias[..., :T]))
    query, key, value = (torch.from_numpy(x) for x in given)
    if state.names:
        output, found = state.module(query, key, value, bias, None), None
    elif np.isneginf(solution.bias).all(-1).any():
        output, found = state.module(query, key, value, attn_mask=bias.flatten(0, 1), need_weights=False)
    else:
        own = own_masks(request, tensors, bias)
        output, found = state.module(query, key, value, average_attn_weights=False, **own)
    held(output.numpy(), solution.output)
    if found is not None:
        held(found.numpy(), solution.stages["softmax"])
    return ["torch.nn.Module of this file" if state.names else "torch.nn.MultiheadAttention"]


def own_masks(request, tensors, bias):
    """The module's own arguments for boolean masks; everything else as a float mask for each head."""
    if set(request) & {"is_causal", "window", "key_lengths", "segment_ids", "prefix_length", "alibi_slopes"} or \
            request.get("mask_convention") != "ignore":
        return {"attn_mask": bias.flatten(0, 1)}
    own = {}
    if "key_padding_mask" in tensors:
        own["key_padding_mask"] = torch.from_numpy(np.atleast_2d(tensors["key_padding_mask"]))
    if "attn_mask" in tensors and tensors["attn_mask"].ndim < 4:
        own["attn_mask"] = torch.from_numpy(tensors["attn_mask"])
    elif "attn_mask" in tensors:
        own["attn_mask"] = bias.flatten(0, 1)
    return own


def held(found, expected):
    if not np.allclose(found, expected, 1e-12, 1e-12):
        raise ValueError(f"the module disagrees by {np.abs(found - expected).max()}")
