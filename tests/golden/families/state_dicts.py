"""Whole torch.nn.TransformerEncoder and torch.nn.Transformer state dicts, which have no config.json."""

import dataclasses
import shutil

import torch
from safetensors.torch import save_file

from .inputs import floats, mask
from .record import DATA, Case, check_noise, spread, write, zeroed


@dataclasses.dataclass
class StateDict:
    """One directory: state_dict.safetensors, and what a user says of it (`config`)."""

    name: str
    module: torch.nn.Module
    config: dict
    cases: list
    seed: int


WIDTH, HEADS = 24, 3


def layer(**more):
    return torch.nn.TransformerEncoderLayer(WIDTH, HEADS, 40, dropout=0.0, batch_first=True, **more)


def encoder(name, seed, norm=False, **more):
    final = torch.nn.LayerNorm(WIDTH) if norm else None
    module = torch.nn.TransformerEncoder(layer(**more), 2, norm=final, enable_nested_tensor=False)
    inputs = floats(71, 2, 7, WIDTH)
    cases = [Case("plain", {"inputs_embeds": inputs}),
             Case("uneven", {"inputs_embeds": inputs + 1, "attention_mask": mask((3, 7), 7)})]
    return StateDict(name, module, asked(more), cases, seed)


def both(name, seed, **more):
    module = torch.nn.Transformer(WIDTH, HEADS, 2, 2, 36, dropout=0.0, batch_first=True, **more)
    source, target = floats(72, 2, 6, WIDTH), floats(73, 2, 4, WIDTH)
    cases = [Case("plain", {"inputs_embeds": source, "decoder_inputs_embeds": target}),
             Case("uneven", {"inputs_embeds": source + 1, "attention_mask": mask((6, 2), 6),
                             "decoder_inputs_embeds": target - 1, "decoder_attention_mask": mask((3, 4), 4)})]
    return StateDict(name, module, asked(more), cases, seed)


def asked(more):
    return {"num_heads": HEADS, **{name: value for name, value in more.items() if name != "bias"}}


def dicts():
    yield encoder("torch_encoder", 81)
    yield encoder("torch_encoder_norm_first", 82, norm=True, norm_first=True, activation="gelu")
    yield encoder("torch_encoder_no_bias", 83, norm_first=True, bias=False)
    yield both("torch_transformer", 84, activation="gelu")
    yield both("torch_transformer_norm_first", 85, norm_first=True)


def watch(module, seen, stack):
    """Makes an attention module hand out its weights head by head, and keeps them."""
    forward = module.forward

    def watched(*arguments, **options):
        options |= {"need_weights": True, "average_attn_weights": False}
        output, weights = forward(*arguments, **options)
        layer_index = sum(path.startswith(stack) for path in seen)
        seen[f"{stack}.{layer_index}"] = weights
        return output, weights

    module.forward = watched


def run(module, inputs):
    """transformers' mask says what takes part, torch's what is left out."""
    padding = {name: value == 0 for name, value in inputs.items() if name.endswith("mask")}
    source = inputs["inputs_embeds"]
    outer, memory = padding.get("attention_mask"), None
    with torch.no_grad():
        if isinstance(module, torch.nn.TransformerEncoder):
            return {"output": module(source, src_key_padding_mask=outer)}
        memory = module.encoder(source, src_key_padding_mask=outer)
        output = module.decoder(inputs["decoder_inputs_embeds"], memory,
                                tgt_key_padding_mask=padding.get("decoder_attention_mask"),
                                memory_key_padding_mask=outer)
    return {"output": output, "encoder_output": memory}


def record(module, seen, case, dtype):
    inputs = {name: value.to(dtype) if value.is_floating_point() else value for name, value in case.inputs.items()}
    module.to(dtype)
    seen.clear()
    output = run(module, inputs)
    return {path: zeroed(path, value, inputs).contiguous().clone() for path, value in {**output, **seen}.items()}


def stacks_of(module):
    if isinstance(module, torch.nn.TransformerEncoder):
        return [(one.self_attn, "self") for one in module.layers]
    attentions = [(one.self_attn, "encoder") for one in module.encoder.layers]
    for one in module.decoder.layers:
        attentions += [(one.self_attn, "decoder"), (one.multihead_attn, "cross")]
    return attentions


def make(wanted):
    torch.backends.mha.set_fastpath_enabled(False)
    for spec in dicts():
        if wanted and spec.name not in wanted:
            continue
        directory = DATA / spec.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        module = spec.module.eval()
        spread(module, spec)
        save_file(module.state_dict(), directory / "state_dict.safetensors", metadata={"format": "pt"})
        seen, tensors = {}, {}
        for attention, stack in stacks_of(module):
            watch(attention, seen, stack)
        for case in spec.cases:
            expected = record(module, seen, case, torch.float32)
            check_noise(case.name, expected, record(module, seen, case, torch.float64))
            tensors |= {f"{case.name}/inputs/{name}": value.clone() for name, value in case.inputs.items()}
            tensors |= {f"{case.name}/expect/{path}": value for path, value in expected.items()}
        write(directory, [{"name": case.name, "predictions": 0} for case in spec.cases], tensors, spec.config)
        print(f"{spec.name}: {len(spec.cases)} cases")
