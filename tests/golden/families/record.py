"""Makes a tiny model with random weights, runs it as transformers does, and writes both down."""

import dataclasses
import importlib.metadata
import json
import math
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

PACKAGES = ("torch", "transformers", "safetensors", "numpy")
DATA = pathlib.Path(__file__).parent.parent / "data" / "models"
TOP = 3
#: How far transformers' float32 may be from the same model in float64; above it, a tolerance of 1e-5 means nothing.
NOISE = 6e-6
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}


@dataclasses.dataclass
class Case:
    """One call of a model. `inputs` are tensors by transformers' names; `stacks` None is all of them."""

    name: str
    inputs: dict
    #: "text" or "vision": which half of a model of two towers is called.
    tower: str | None = None


@dataclasses.dataclass
class Model:
    """One directory. `kind` is a transformers class; `rename` and `edit` make what older versions saved of it."""

    name: str
    kind: type
    config: object
    cases: list
    dtype: torch.dtype = torch.float32
    shard: str | None = None
    rename: object = None
    edit: object = None
    seed: int = 0
    #: The head has a weight of its own, as T5 v1.1 has in spite of what this version's configuration says.
    has_own_head: bool = False


# Weights


def fresh(spec):
    model = spec.kind._from_config(spec.config, **EAGER)
    if spec.has_own_head:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def tie(spec, model):
    if not spec.has_own_head:
        model.tie_weights()


def spread(model, spec):
    """Random weights wide enough for attention to be far from uniform, and no bias 0 nor any norm's weight 1."""
    torch.manual_seed(spec.seed)
    fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    for module_name, module in model.named_modules():
        is_norm = "Norm" in type(module).__name__
        is_embedding = isinstance(module, torch.nn.Embedding)
        for name, parameter in module.named_parameters(recurse=False):
            if f"{module_name}.{name}" in fixed:
                continue
            noise = torch.randn(parameter.shape)
            if is_norm and name == "weight":
                parameter.data = 0.3 * noise + (0 if "Gemma" in type(module).__name__ else 1)
            elif name in ("lambda1", "sinks"):
                parameter.data = 0.5 * noise + 0.5
            elif is_embedding or name.endswith(("_token", "_embedding", "_embeddings", "position_embedding")):
                parameter.data = 0.8 * noise
            elif parameter.dim() < 2 or name.endswith("_bias"):
                parameter.data = 0.2 * noise
            else:
                fan_in = parameter.shape[0] if type(module).__name__ == "Conv1D" else math.prod(parameter.shape[1:])
                if parameter.dim() == 3 and "Experts" in type(module).__name__:
                    fan_in = parameter.shape[1]
                parameter.data = 1.2 * noise / math.sqrt(fan_in)
        for name, buffer in module.named_buffers(recurse=False):
            if name == "final_logits_bias":
                buffer.copy_(torch.randn(buffer.shape))
    if type(model).__name__.startswith("T5"):
        for name, parameter in model.named_parameters():  # T5 does not scale its scores
            if name.endswith(".q.weight"):
                parameter.data *= model.config.d_kv**-0.5
    if isinstance(spec, Model):
        tie(spec, model)


# Running


def attentions_of(outputs):
    """By the stack's name in the library."""
    found = {}
    if getattr(outputs, "encoder_attentions", None) is not None:
        found["encoder"] = outputs.encoder_attentions
    if getattr(outputs, "cross_attentions", None) is not None:
        found["cross"] = outputs.cross_attentions
    if getattr(outputs, "decoder_attentions", None) is not None:
        found["decoder"] = outputs.decoder_attentions
    if getattr(outputs, "attentions", None) is not None:
        found["self"] = outputs.attentions
    return found


def run(model, case):
    """What the library is to give back: tensors by path, padding not yet zeroed."""
    base = model.base_model
    dtype = next(model.parameters()).dtype
    inputs = {name: value.to(dtype) if value.is_floating_point() else value for name, value in case.inputs.items()}
    with torch.no_grad():
        if case.tower:
            outputs = getattr(model, f"{case.tower}_model")(**inputs, output_attentions=True)
            return {"output": outputs.last_hidden_state, **flat(attentions_of(outputs))}
        outputs = base(**inputs, output_attentions=True, output_hidden_states=True)
        expected = flat(attentions_of(outputs))
        last = getattr(outputs, "last_hidden_state", None)
        hidden = getattr(outputs, "decoder_hidden_states", None) or getattr(outputs, "hidden_states", None)
        expected["output"] = hidden[-1] if last is None else last
        if getattr(outputs, "encoder_last_hidden_state", None) is not None:
            expected["encoder_output"] = outputs.encoder_last_hidden_state
        logits = getattr(model(**inputs), "logits", None)
        if logits is not None and logits.dim() == 3:  # a classifier's have no tokens
            expected["probabilities"] = logits.softmax(-1)
    return expected


def flat(stacks):
    return {f"{stack}.{layer}": weights for stack, layers in stacks.items() for layer, weights in enumerate(layers)}


def zeroed(path, value, inputs):
    """Rows and columns of padding are 0 in the library's answers; transformers leaves numbers in its rows."""
    is_two = "decoder_input_ids" in inputs or "decoder_inputs_embeds" in inputs
    first = inputs.get("attention_mask")
    second = inputs.get("decoder_attention_mask")
    stack = path.split(".")[0]
    if stack in ("output", "probabilities", "ids"):
        rows, columns = (second if is_two else first), None
    elif stack == "encoder_output":
        rows, columns = first, None
    else:
        rows, columns = {"decoder": (second, second), "cross": (second, first)}.get(stack, (first, first))
    if rows is not None:
        shape = [rows.shape[0], rows.shape[1]] + [1] * (value.dim() - 2)
        if columns is not None or value.dim() == 4:
            shape = [rows.shape[0], 1, rows.shape[1], 1]
        value = torch.where(rows.view(shape) == 1, value, 0)
    if columns is not None:
        assert not (value * (1 - columns[:, None, None, :])).abs().max() > 1e-12, path
    return value


def check_noise(name, single, double):
    """
    Says where transformers' own float32 is too far from its float64 for the tolerance of the tests. In float64, rows of
    padding that see nothing may be NaN (the mask's float64 minimum overflows where a model casts scores to float32).
    """
    for path, value in single.items():
        assert value.isfinite().all(), path
        if not double[path].isfinite().all():
            continue
        off = ((value.double() - double[path].double()).abs() / (1 + double[path].double().abs())).max().item()
        if off > NOISE:
            print(f"  noise of {name}/{path}: {off:.2g}")


def record(model, double, case):
    inputs = case.inputs
    single = {path: zeroed(path, value, inputs) for path, value in run(model, case).items()}
    wide = {path: zeroed(path, value, inputs) for path, value in run(double, case).items()}
    check_noise(f"{case.name}", single, wide)
    probabilities = single.pop("probabilities", None)
    if probabilities is not None:
        values, ids = torch.sort(probabilities, dim=-1, descending=True, stable=True)
        gaps = (values[..., :TOP] - values[..., 1:TOP + 1])[values[..., 0] > 0]
        assert gaps.min() > 2e-6, f"{case.name}: the order of predictions is down to rounding"
        single["predictions.values"] = values[..., :TOP].contiguous()
        single["predictions.indices"] = zeroed("ids", ids[..., :TOP], inputs).contiguous()
    return {path: value.contiguous().clone() for path, value in single.items()}


# Writing


def save(spec, model, directory):
    shutil.rmtree(directory, ignore_errors=True)
    sharded = {"max_shard_size": spec.shard} if spec.shard else {}
    model.save_pretrained(directory, **sharded)
    (directory / "generation_config.json").unlink(missing_ok=True)
    if spec.rename:
        path = directory / "model.safetensors"
        tensors = {spec.rename(name): value for name, value in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    if spec.edit:
        spec.edit(config)
    (directory / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def build(spec):
    """The model in float32, its weights rounded to the dtype it is saved in, and its twin in float64."""
    model = fresh(spec).eval()
    spread(model, spec)
    if spec.dtype is not torch.float32:
        rounded = {name: value.to(spec.dtype).float() for name, value in model.state_dict().items()}
        model.load_state_dict(rounded)
        tie(spec, model)
    return model


def in_double(spec, model):
    double = fresh(spec).double().eval()
    double.load_state_dict({name: value.double() for name, value in model.state_dict().items()})
    tie(spec, double)
    return double


def write(directory, cases, tensors, config=None):
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    metadata = {"versions": json.dumps(versions), "cases": json.dumps(cases)}
    if config:
        metadata["config"] = json.dumps(config)
    save_file(tensors, directory / "expected.safetensors", metadata=metadata)


def make(spec):
    directory = DATA / spec.name
    model = build(spec)
    double = in_double(spec, model)
    tensors, cases = {}, []
    for case in spec.cases:
        expected = record(model, double, case)
        cases.append({"name": case.name, "predictions": TOP if "predictions.indices" in expected else 0})
        tensors |= {f"{case.name}/inputs/{name}": value.clone() for name, value in case.inputs.items()}
        tensors |= {f"{case.name}/expect/{path}": value for path, value in expected.items()}
    if spec.dtype is not torch.float32:
        model = model.to(spec.dtype)
    model.config.dtype = spec.dtype
    save(spec, model, directory)
    write(directory, cases, tensors)
    print(f"{spec.name}: {len(cases)} cases, {sum(f.stat().st_size for f in directory.iterdir()) // 1024} KB")
