"""Models that look at pictures, and CLIP's two towers."""

import torch
import transformers as hf

from .inputs import VOCAB, floats, ids, mask
from .record import Case, Model

SMALL = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=36, num_channels=3)


def pictures(height=12, width=12, channels=3):
    return [Case("plain", {"pixel_values": floats(51, 2, channels, height, width)}),
            Case("one_picture", {"pixel_values": floats(52, 1, channels, height, width)})]


def models():
    square = dict(SMALL, image_size=12, patch_size=4)
    yield Model("vit", hf.ViTModel, hf.ViTConfig(**square), pictures(), seed=61)
    yield Model("vit_wide", hf.ViTModel, hf.ViTConfig(
        **dict(SMALL, num_channels=1), image_size=[8, 12], patch_size=4, qkv_bias=False, hidden_act="relu"),
        pictures(8, 12, 1), dtype=torch.float16, seed=62)
    yield Model("vit_classifier", hf.ViTForImageClassification, hf.ViTConfig(**square), pictures()[:1],
                dtype=torch.bfloat16, seed=63)
    yield Model("deit", hf.DeiTModel, hf.DeiTConfig(**square), pictures(), seed=64)
    dino = {key: value for key, value in square.items() if key != "intermediate_size"}
    yield Model("dinov2", hf.Dinov2Model, hf.Dinov2Config(**dino, mlp_ratio=2), pictures(), seed=65)
    yield Model("dinov2_swiglu", hf.Dinov2Model, hf.Dinov2Config(**dino, mlp_ratio=2, use_swiglu_ffn=True),
                pictures()[:1], dtype=torch.float16, seed=66)
    yield from clip()


def clip():
    text = dict(vocab_size=VOCAB, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=36,
                max_position_embeddings=20, projection_dim=16, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    vision = dict(SMALL, hidden_size=20, num_attention_heads=4, image_size=12, patch_size=4, projection_dim=16)
    words = [Case("text", {"input_ids": ids(53, 2, 8)}, tower="text"),
             Case("text_uneven", {"input_ids": ids(54, 3, 9), "attention_mask": mask((9, 2, 5), 9)}, tower="text")]
    looks = [Case("picture", {"pixel_values": floats(55, 2, 3, 12, 12)}, tower="vision")]
    alone = lambda cases: [Case(case.name, case.inputs) for case in cases]
    yield Model("clip", hf.CLIPModel, hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16),
                words + looks, seed=67)
    yield Model("clip_text", hf.CLIPTextModel, hf.CLIPTextConfig(**text), alone(words), dtype=torch.bfloat16, seed=68)
    yield Model("clip_vision", hf.CLIPVisionModel, hf.CLIPVisionConfig(**vision, hidden_act="gelu"), alone(looks),
                dtype=torch.float16, seed=69)
