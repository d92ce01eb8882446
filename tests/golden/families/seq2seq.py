"""Encoder-decoders over text and speech."""

import torch
import transformers as hf

from .inputs import VOCAB, floats, ids, mask, padded
from .record import Case, Model

SPECIAL = dict(pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2)


def cases(pad, width):
    uneven = padded(21, (6, 10, 3), pad)
    decoder = padded(22, (5, 2, 7), pad)
    return [
        Case("plain", {"input_ids": ids(23, 2, 9), "decoder_input_ids": ids(24, 2, 6)}),
        Case("uneven", {**uneven, "decoder_input_ids": decoder["input_ids"],
                        "decoder_attention_mask": decoder["attention_mask"]}),
        Case("one_token", {"input_ids": ids(25, 1, 1), "decoder_input_ids": ids(26, 1, 1)}),
        Case("decoder_longer", {"input_ids": ids(27, 1, 3), "decoder_input_ids": ids(28, 1, 11)}),
        Case("inputs_embeds", {"inputs_embeds": floats(29, 2, 4, width),
                               "decoder_inputs_embeds": floats(30, 2, 5, width)}),
    ]


def t5(name, seed, kind=hf.T5ForConditionalGeneration, dtype=torch.float32, tie=True, shard=None, **more):
    config = hf.T5Config(vocab_size=VOCAB, d_model=24, d_kv=7, d_ff=40, num_layers=2, num_decoder_layers=3, num_heads=4,
                         relative_attention_num_buckets=8, relative_attention_max_distance=10, pad_token_id=0,
                         eos_token_id=1, decoder_start_token_id=0, tie_word_embeddings=tie, **more)
    return Model(name, kind, config, cases(0, 24), dtype=dtype, shard=shard, seed=seed)


def t5_4(config):
    """What transformers 4 wrote; the first T5s have no feed_forward_proj either, which is ReLU."""
    for name in ("scale_decoder_outputs", "tie_word_embeddings", "dense_act_fn", "is_gated_act", "feed_forward_proj"):
        config.pop(name)


def t5_1_1(config):
    """Likewise, of a model whose head is no embedding."""
    t5_4(config)
    config["tie_word_embeddings"] = False


def models():
    relu = t5("t5", 51, shard="40KB", feed_forward_proj="relu")
    relu.edit = t5_4
    yield relu
    yield t5("t5_gated", 52, dtype=torch.bfloat16, feed_forward_proj="gated-gelu", tie=False)
    own = t5("t5_own_head", 59, dtype=torch.float16, feed_forward_proj="gated-silu", tie=False)
    own.cases, own.has_own_head, own.edit = own.cases[:2], True, t5_1_1
    yield own
    encoder = t5("t5_encoder", 53, kind=hf.T5EncoderModel, dtype=torch.float16)
    encoder.cases = [Case("plain", {"input_ids": ids(31, 2, 13)}), Case("uneven", padded(32, (5, 9), 0))]
    yield encoder
    small = dict(vocab_size=VOCAB, d_model=24, encoder_layers=2, decoder_layers=2, encoder_attention_heads=3,
                 decoder_attention_heads=4, encoder_ffn_dim=36, decoder_ffn_dim=28, max_position_embeddings=32, **SPECIAL)
    yield Model("bart", hf.BartForConditionalGeneration, hf.BartConfig(**small, scale_embedding=True), cases(1, 24),
                seed=54)
    yield Model("bart_base", hf.BartModel, hf.BartConfig(**small, activation_function="relu"), cases(1, 24)[:2],
                dtype=torch.float16, seed=55)
    yield Model("bart_untied", hf.BartForConditionalGeneration, hf.BartConfig(
        **dict(small, encoder_layers=1, decoder_layers=1), tie_word_embeddings=False), cases(1, 24)[:1],
        dtype=torch.float16, seed=59)
    yield Model("marian_base", hf.MarianModel, hf.MarianConfig(
        **dict(small, encoder_layers=1, decoder_layers=1)), cases(1, 24)[:1], dtype=torch.bfloat16, seed=60)
    yield Model("marian", hf.MarianMTModel, hf.MarianConfig(
        **small, scale_embedding=True, activation_function="swish"), cases(1, 24), seed=56)
    yield Model("marian_two_vocabularies", hf.MarianMTModel, hf.MarianConfig(
        **small, share_encoder_decoder_embeddings=False, decoder_vocab_size=71, tie_word_embeddings=True),
        cases(1, 24)[:2], seed=60)
    yield from whisper()


def whisper():
    small = dict(vocab_size=VOCAB, d_model=24, encoder_layers=2, decoder_layers=2, encoder_attention_heads=3,
                 decoder_attention_heads=4, encoder_ffn_dim=36, decoder_ffn_dim=28, num_mel_bins=10,
                 max_source_positions=9, max_target_positions=14, **SPECIAL)
    features = floats(41, 2, 10, 18)
    inputs = [
        Case("plain", {"input_features": features, "decoder_input_ids": ids(42, 2, 5)}),
        Case("one_token", {"input_features": features[:1], "decoder_input_ids": ids(43, 1, 1)}),
        Case("uneven", {"input_features": features, "decoder_input_ids": ids(44, 2, 8),
                        "decoder_attention_mask": mask((8, 4), 8)}),
    ]
    yield Model("whisper", hf.WhisperForConditionalGeneration, hf.WhisperConfig(**small), inputs, seed=57)
    yield Model("whisper_base", hf.WhisperModel, hf.WhisperConfig(**small, scale_embedding=True), inputs[:2],
                dtype=torch.float16, seed=58)
