"""Encoders over text."""

import torch
import transformers as hf

from .inputs import VOCAB, embeds, holes, ids, one, pair, plain, text, uneven
from .record import Case, Model

SMALL = dict(vocab_size=VOCAB, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=36,
             max_position_embeddings=40)


def legacy_norms(name):
    """The names that the first BERT files have."""
    if "LayerNorm" in name:
        return name.replace(".weight", ".gamma").replace(".bias", ".beta")
    return name


def models():
    bert = dict(SMALL, pad_token_id=0)
    yield Model("bert", hf.BertModel, hf.BertConfig(**bert), text(24, 0) + [pair(0)], shard="20KB", seed=1)
    yield Model("bert_mlm", hf.BertForMaskedLM, hf.BertConfig(**bert, hidden_act="gelu_new"), [plain(), pair(0)],
                dtype=torch.float16, rename=legacy_norms, seed=2)
    yield Model("distilbert", hf.DistilBertForMaskedLM, hf.DistilBertConfig(
        vocab_size=VOCAB, dim=24, n_layers=3, n_heads=3, hidden_dim=40, max_position_embeddings=32), text(24, 0),
        dtype=torch.bfloat16, seed=3)
    roberta = dict(SMALL, pad_token_id=1, type_vocab_size=1)
    yield Model("roberta", hf.RobertaForMaskedLM, hf.RobertaConfig(**roberta), text(24, 1), seed=4)
    yield Model("roberta_untied", hf.RobertaForMaskedLM, hf.RobertaConfig(
        **dict(roberta, num_hidden_layers=1), tie_word_embeddings=False), [plain(5)], dtype=torch.float16, seed=13)
    yield Model("xlm_roberta", hf.XLMRobertaModel, hf.XLMRobertaConfig(**roberta), [plain(), uneven(1), embeds(24)],
                seed=5)
    yield Model("mpnet", hf.MPNetForMaskedLM, hf.MPNetConfig(**SMALL, pad_token_id=1),
                text(24, 1) + [Case("past_the_buckets", {"input_ids": ids(8, 1, 37)})], seed=6)
    electra = dict(SMALL, embedding_size=16, pad_token_id=0)
    yield Model("electra", hf.ElectraForMaskedLM, hf.ElectraConfig(**electra), text(16, 0) + [pair(0)], seed=7)
    yield Model("electra_base", hf.ElectraModel, hf.ElectraConfig(**dict(electra, embedding_size=24)), [uneven(0)],
                dtype=torch.float16, seed=8)
    albert = dict(SMALL, embedding_size=16, num_hidden_layers=4, pad_token_id=0)
    yield Model("albert", hf.AlbertForMaskedLM, hf.AlbertConfig(**albert, num_hidden_groups=1),
                text(16, 0) + [pair(0)], seed=9)
    yield Model("albert_groups", hf.AlbertModel, hf.AlbertConfig(
        **albert, num_hidden_groups=2, inner_group_num=2, hidden_act="relu"), [plain(), uneven(0)], seed=10)
    modern = dict(SMALL, local_attention=6, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1,
                  sep_token_id=2)
    modern["num_hidden_layers"] = 4
    yield Model("modernbert", hf.ModernBertForMaskedLM, hf.ModernBertConfig(**modern),
                text(24, 0) + [Case("past_the_window", {"input_ids": ids(9, 2, 17)})], seed=11)
    yield Model("modernbert_biases", hf.ModernBertModel, hf.ModernBertConfig(
        **modern, norm_bias=True, attention_bias=True, mlp_bias=True, global_attn_every_n_layers=2),
        [plain(11), uneven(0, (13, 8))], dtype=torch.bfloat16, edit=modernbert_4, seed=12)


    yield Model("modernbert_defaults", hf.ModernBertForMaskedLM, hf.ModernBertConfig(
        **dict(modern, num_hidden_layers=1), hidden_activation="relu"), [plain(5)], dtype=torch.bfloat16,
        edit=lambda config: config.pop("classifier_activation"), seed=14)


def modernbert_4(config):
    """What transformers 4 wrote."""
    rope = config.pop("rope_parameters")
    config.pop("layer_types")
    config.update(global_attn_every_n_layers=2, global_rope_theta=rope["full_attention"]["rope_theta"],
                  local_rope_theta=rope["sliding_attention"]["rope_theta"])
