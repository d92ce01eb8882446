/* Parts of the tokenizer.json that is made of a SentencePiece model. */
#include "lib/tokenizer/sentencepiece_maker.h"

#include <stdlib.h>

static const char strip_space[] = "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}";

bool attn_maker_says(const struct attn_sentencepiece_maker *maker, const char *key, bool otherwise) {
    const json_t *value = json_object_get(maker->config, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

attn_status attn_maker_put(struct attn_sentencepiece_maker *maker, json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) == 0 ? ATTN_OK : attn_reader_no_memory(maker->reader);
}

attn_status attn_maker_put_text(struct attn_sentencepiece_maker *maker, json_t *object, const char *key,
                                const char *text) {
    return attn_maker_put(maker, object, key, json_loads(text, 0, NULL));
}

attn_status attn_maker_put_unigram(struct attn_sentencepiece_maker *maker, json_t *document, int unk_id,
                                   bool byte_fallback) {
    if (maker->model->algorithm != ATTN_SENTENCEPIECE_UNIGRAM)
        return attn_reader_fail(maker->reader, NULL, "the tokenizer needs a model of type unigram");
    json_t *pieces = json_array();
    for (size_t i = 0; i < maker->count; i++) {
        json_t *piece = json_array();
        json_array_append_new(piece, attn_json_text(maker->pieces[i].text));
        json_array_append_new(piece, json_real((double)maker->pieces[i].score));
        if (json_array_append_new(pieces, piece) != 0)
            break;
    }
    json_t *model = json_pack("{s:s, s:b, s:o}", "type", "Unigram", "byte_fallback", byte_fallback, "vocab", pieces);
    attn_status status = attn_maker_put(maker, document, "model", model);
    if (status == ATTN_OK && unk_id >= 0)
        status = attn_maker_put(maker, model, "unk_id", json_integer(unk_id));
    return status;
}

attn_status attn_maker_put_bpe(struct attn_sentencepiece_maker *maker, json_t *document, const char *settings,
                               bool by_score) {
    if (maker->model->algorithm != ATTN_SENTENCEPIECE_BPE)
        return attn_reader_fail(maker->reader, NULL, "the tokenizer needs a model of type bpe");
    attn_status status = attn_maker_put_text(maker, document, "model", settings);
    json_t *model = json_object_get(document, "model"), *vocab = json_object(), *merges = NULL;
    for (size_t i = 0; i < maker->count; i++) {
        struct attn_string text = maker->pieces[i].text;
        if (json_object_setn_new(vocab, text.bytes, text.length, json_integer((json_int_t)i)) != 0)
            status = attn_reader_no_memory(maker->reader);
    }
    if (status == ATTN_OK)
        status = attn_maker_put(maker, model, "vocab", vocab);
    else
        json_decref(vocab);
    if (status == ATTN_OK)
        status = attn_sentencepiece_merges(maker, by_score, &merges);
    if (status != ATTN_OK) {
        json_decref(merges);
        return status;
    }
    return attn_maker_put(maker, model, "merges", merges);
}

static char *encode_base64(struct attn_string bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc(bytes.length / 3 * 4 + 5), *out = text;
    for (size_t at = 0; text != NULL && at < bytes.length; at += 3) {
        size_t count = bytes.length - at < 3 ? bytes.length - at : 3;
        uint32_t bits = 0;
        for (size_t i = 0; i < 3; i++)
            bits = bits << 8 | (i < count ? (unsigned char)bytes.bytes[at + i] : 0);
        for (size_t i = 0; i < 4; i++)
            *out++ = i <= count ? digits[bits >> (18 - 6 * i) & 63] : '=';
    }
    if (text != NULL)
        *out = '\0';
    return text;
}

attn_status attn_maker_append_charsmap(struct attn_sentencepiece_maker *maker, json_t *normalizers) {
    if (maker->model->charsmap.length == 0)
        return ATTN_OK;
    char *text = encode_base64(maker->model->charsmap);
    json_t *part = text != NULL ? json_pack("{s:s, s:s}", "type", "Precompiled", "precompiled_charsmap", text) : NULL;
    free(text);
    return json_array_append_new(normalizers, part) == 0 ? ATTN_OK : attn_reader_no_memory(maker->reader);
}

attn_status attn_maker_append(struct attn_sentencepiece_maker *maker, json_t *array, const char *text) {
    return json_array_append_new(array, json_loads(text, 0, NULL)) == 0 ? ATTN_OK
                                                                        : attn_reader_no_memory(maker->reader);
}

json_t *attn_maker_put_sequence(json_t *document, const char *key, const char *list) {
    json_t *array = json_array();
    json_t *sequence = json_pack("{s:s, s:o}", "type", "Sequence", list, array);
    return json_object_set_new(document, key, sequence) == 0 ? array : NULL;
}

attn_status attn_maker_put_decoder(struct attn_sentencepiece_maker *maker, json_t *document, bool byte_fallback,
                                   bool strip) {
    json_t *decoders = attn_maker_put_sequence(document, "decoder", "decoders");
    attn_status status = decoders != NULL ? ATTN_OK : attn_reader_no_memory(maker->reader);
    if (status == ATTN_OK)
        status = attn_maker_append(maker, decoders, ATTN_PART_REPLACE(ATTN_SPACE_SIGN, "String", " "));
    if (status == ATTN_OK && byte_fallback)
        status = attn_maker_append(maker, decoders, "{\"type\": \"ByteFallback\"}");
    if (status == ATTN_OK && (byte_fallback || strip))
        status = attn_maker_append(maker, decoders, "{\"type\": \"Fuse\"}");
    return status == ATTN_OK && strip ? attn_maker_append(maker, decoders, strip_space) : status;
}
