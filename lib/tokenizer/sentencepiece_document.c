/*
 * SentencePiece's models as the tokenizer.json that transformers makes of them: a row for each class of tokenizers that
 * is known, and one that follows the model's own settings for all that have no class of their own.
 */
#include "lib/tokenizer/sentencepiece_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tokenizer_class {
    const char *name;
    const char *roles[ROLE_COUNT]; /* bos, eos, unk, sep, pad, cls, mask */
    attn_status (*pieces)(struct attn_sentencepiece_maker *maker);
    attn_status (*parts)(struct attn_sentencepiece_maker *maker, json_t *document);
    const char *single, *pair; /* template; NULL: what add_bos_token and add_eos_token say */
    bool is_generic;
};

/* Vocabularies. */

/* Makes room for the model's pieces and some more. */
static bool reserve_pieces(struct attn_sentencepiece_maker *maker, size_t more) {
    maker->pieces = attn_pool_take(&maker->scratch, maker->model->count + more, sizeof *maker->pieces);
    return maker->pieces != NULL;
}

static void add_piece(struct attn_sentencepiece_maker *maker, struct attn_string text, uint32_t type) {
    maker->pieces[maker->count++] = (struct attn_sentencepiece_piece){.text = text, .type = type};
}

static void add_model_pieces(struct attn_sentencepiece_maker *maker, size_t from) {
    for (size_t i = from; i < maker->model->count; i++)
        maker->pieces[maker->count++] = maker->model->pieces[i];
}

static attn_status take_pieces(struct attn_sentencepiece_maker *maker) {
    if (!reserve_pieces(maker, 0))
        return attn_reader_no_memory(maker->reader);
    add_model_pieces(maker, 0);
    return ATTN_OK;
}

/* T5's: as many sentinels behind the pieces as extra_ids says, from the last to the first. */
static attn_status take_t5_pieces(struct attn_sentencepiece_maker *maker) {
    size_t extra = 100;
    attn_status status = attn_read_size(maker->reader, maker->config, "extra_ids", ATTN_OPTIONAL, 65536, &extra);
    if (status != ATTN_OK)
        return status;
    if (!reserve_pieces(maker, extra))
        return attn_reader_no_memory(maker->reader);
    add_model_pieces(maker, 0);
    for (size_t i = extra; i-- > 0;) {
        char name[32];
        struct attn_string text = {.length = (size_t)snprintf(name, sizeof name, "<extra_id_%zu>", i)};
        text.bytes = attn_pool_copy(&maker->scratch, name, text.length);
        if (text.bytes == NULL)
            return attn_reader_no_memory(maker->reader);
        add_piece(maker, text, ATTN_SENTENCEPIECE_CONTROL);
    }
    return ATTN_OK;
}

/* XLM-R's: fairseq's four special tokens for the model's three, and the mask at the end. */
static attn_status take_fairseq_pieces(struct attn_sentencepiece_maker *maker) {
    static const enum attn_role first[] = {ROLE_BOS, ROLE_PAD, ROLE_EOS, ROLE_UNK};
    if (!reserve_pieces(maker, 5))
        return attn_reader_no_memory(maker->reader);
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        add_piece(maker, maker->roles[first[i]], ATTN_SENTENCEPIECE_CONTROL);
    add_model_pieces(maker, 3);
    add_piece(maker, maker->roles[ROLE_MASK], ATTN_SENTENCEPIECE_CONTROL);
    for (size_t i = 0; i < maker->count; i++) {
        if (maker->pieces[i].text.bytes == NULL)
            return attn_reader_fail(maker->reader, NULL, "a special token is null");
    }
    return ATTN_OK;
}

static attn_status index_names(struct attn_sentencepiece_maker *maker) {
    size_t most = maker->count + attn_sentencepiece_most_added(maker->config);
    if (!attn_vocabulary_reserve(&maker->scratch, &maker->names, most))
        return attn_reader_no_memory(maker->reader);
    for (size_t i = 0; i < maker->count; i++) {
        if (!attn_vocabulary_add(&maker->names, maker->pieces[i].text, (int32_t)i))
            return attn_reader_no_memory(maker->reader);
    }
    /* A text that is there twice counts once in BPE's vocabulary, which is an object. */
    maker->next_id = maker->model->algorithm == ATTN_SENTENCEPIECE_BPE ? maker->names.count : maker->count;
    return ATTN_OK;
}

/* Classes. */

static attn_status make_words(struct attn_sentencepiece_maker *maker, json_t *document, int unk_id) {
    if ((size_t)unk_id >= maker->count)
        return attn_reader_fail(maker->reader, NULL, "the model has no unknown piece");
    attn_status status = attn_maker_put_unigram(maker, document, unk_id, false);
    if (status == ATTN_OK)
        status = attn_maker_put_text(
            maker, document, "pre_tokenizer",
            "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"WhitespaceSplit\"}, " ATTN_PART_METASPACE(
                "always", "true") "]}");
    return status == ATTN_OK ? attn_maker_put_text(maker, document, "decoder", ATTN_PART_METASPACE("always", "true"))
                             : status;
}

static attn_status put_charsmap(struct attn_sentencepiece_maker *maker, json_t *document) {
    json_t *normalizers = attn_maker_put_sequence(document, "normalizer", "normalizers");
    attn_status status = normalizers != NULL ? ATTN_OK : attn_reader_no_memory(maker->reader);
    return status == ATTN_OK ? attn_maker_append_charsmap(maker, normalizers) : status;
}

static attn_status make_t5(struct attn_sentencepiece_maker *maker, json_t *document) {
    attn_status status = make_words(maker, document, 2);
    return status == ATTN_OK ? put_charsmap(maker, document) : status;
}

static attn_status make_fairseq(struct attn_sentencepiece_maker *maker, json_t *document) {
    attn_status status = make_words(maker, document, 3);
    return status == ATTN_OK ? put_charsmap(maker, document) : status;
}

static attn_status make_albert(struct attn_sentencepiece_maker *maker, json_t *document) {
    attn_status status = make_words(maker, document, 1);
    json_t *normalizers = status == ATTN_OK ? attn_maker_put_sequence(document, "normalizer", "normalizers") : NULL;
    if (status == ATTN_OK)
        status = normalizers != NULL ? ATTN_OK : attn_reader_no_memory(maker->reader);
    if (status == ATTN_OK)
        status = attn_maker_append(maker, normalizers, ATTN_PART_REPLACE("``", "String", "\\\""));
    if (status == ATTN_OK)
        status = attn_maker_append(maker, normalizers, ATTN_PART_REPLACE("''", "String", "\\\""));
    if (status == ATTN_OK && !attn_maker_says(maker, "keep_accents", false)) {
        status = attn_maker_append(maker, normalizers, "{\"type\": \"NFKD\"}");
        if (status == ATTN_OK)
            status = attn_maker_append(maker, normalizers, "{\"type\": \"StripAccents\"}");
    }
    if (status == ATTN_OK && attn_maker_says(maker, "do_lower_case", true))
        status = attn_maker_append(maker, normalizers, "{\"type\": \"Lowercase\"}");
    return status == ATTN_OK ? attn_maker_append_charsmap(maker, normalizers) : status;
}

static attn_status make_llama(struct attn_sentencepiece_maker *maker, json_t *document) {
    bool prefix = attn_maker_says(maker, "add_prefix_space", true), legacy = attn_maker_says(maker, "legacy", false);
    attn_status status =
        attn_maker_put_bpe(maker, document, "{\"type\": \"BPE\", \"fuse_unk\": true, \"byte_fallback\": true}", false);
    if (status == ATTN_OK)
        status = attn_maker_put_text(maker, document, "pre_tokenizer",
                                     !prefix  ? ATTN_PART_METASPACE("never", "false")
                                     : legacy ? ATTN_PART_METASPACE("always", "false")
                                              : ATTN_PART_METASPACE("first", "false"));
    return status == ATTN_OK ? attn_maker_put_decoder(maker, document, true, prefix) : status;
}

static const struct tokenizer_class classes[] = {
    /* name                  bos      eos      unk      sep      pad      cls      mask */
    {"T5Tokenizer",
     {NULL, "</s>", "<unk>", NULL, "<pad>", NULL, NULL},
     take_t5_pieces,
     make_t5,
     "A0e0",
     "A0e0B0e0",
     false},
    {"AlbertTokenizer",
     {"[CLS]", "[SEP]", "<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"},
     take_pieces,
     make_albert,
     "c0A0s0",
     "c0A0s0B1s1",
     false},
    {"XLMRobertaTokenizer",
     {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"},
     take_fairseq_pieces,
     make_fairseq,
     "b0A0e0",
     "b0A0e0e0B0e0",
     false},
    {"LlamaTokenizer", {"<s>", "</s>", "<unk>", NULL, NULL, NULL, NULL}, take_pieces, make_llama, NULL, NULL, false},
    {"PreTrainedTokenizer", {NULL}, take_pieces, attn_maker_generic, NULL, NULL, true},
    {"TokenizersBackend", {NULL}, take_pieces, attn_maker_generic, NULL, NULL, true},
};

/* A name with or without "Fast"; without a name, what the model's own settings say. */
static const struct tokenizer_class *find_class(struct attn_sentencepiece_maker *maker) {
    const char *name = json_string_value(json_object_get(maker->config, "tokenizer_class"));
    if (name == NULL)
        name = "TokenizersBackend";
    size_t length = strlen(name), count = sizeof classes / sizeof *classes;
    if (length > 4 && strcmp(name + length - 4, "Fast") == 0)
        length -= 4;
    for (size_t i = 0; i < count; i++) {
        if (strlen(classes[i].name) == length && memcmp(classes[i].name, name, length) == 0)
            return &classes[i];
    }
    attn_reader_fail(
        maker->reader, NULL,
        "tokenizer_class %.40s is not read from a SentencePiece model; known are T5Tokenizer, "
        "AlbertTokenizer, XLMRobertaTokenizer, LlamaTokenizer, PreTrainedTokenizer; a tokenizer.json may be",
        name);
    return NULL;
}

static attn_status find_roles(struct attn_sentencepiece_maker *maker, const struct tokenizer_class *class) {
    attn_status status = attn_sentencepiece_find_roles(maker, class->roles);
    const struct attn_sentencepiece *model = maker->model;
    const struct {
        enum attn_role role;
        int32_t id;
        struct attn_string text;
        const char *key;
    } own[] = {{ROLE_BOS, model->bos_id, model->bos_piece, "bos_token"},
               {ROLE_EOS, model->eos_id, model->eos_piece, "eos_token"},
               {ROLE_UNK, model->unk_id, model->unk_piece, "unk_token"}};
    for (size_t i = 0; class->is_generic && i < 3; i++) {
        if (own[i].id >= 0 && json_object_get(maker->config, own[i].key) == NULL)
            maker->roles[own[i].role] = own[i].text;
    }
    return status;
}

/* Without a template of its own, a class puts before and behind a text what the config says. */
static attn_status put_post_processor(struct attn_sentencepiece_maker *maker, const struct tokenizer_class *class,
                                      json_t *document) {
    char single[8] = "", pair[16] = "";
    bool bos = attn_maker_says(maker, "add_bos_token", false) && maker->roles[ROLE_BOS].bytes != NULL;
    bool eos = attn_maker_says(maker, "add_eos_token", false) && maker->roles[ROLE_EOS].bytes != NULL;
    snprintf(single, sizeof single, "%sA0%s", bos ? "b0" : "", eos ? "e0" : "");
    snprintf(pair, sizeof pair, "%s%sB1%s", single, bos ? "b1" : "", eos ? "e1" : "");
    json_t *processor = NULL;
    attn_status status = attn_sentencepiece_template(maker, class->single != NULL ? class->single : single,
                                                     class->pair != NULL ? class->pair : pair, &processor);
    return status == ATTN_OK ? attn_maker_put(maker, document, "post_processor", processor) : status;
}

static attn_status make_document(struct attn_sentencepiece_maker *maker, json_t *document) {
    const struct tokenizer_class *class = find_class(maker);
    if (class == NULL)
        return ATTN_EFORMAT;
    json_t *added = NULL;
    maker->reader->has_exact_numbers = !class->is_generic; /* transformers copies those by way of JSON */
    attn_status status = find_roles(maker, class);
    if (status == ATTN_OK)
        status = class->pieces(maker);
    if (status == ATTN_OK)
        status = index_names(maker);
    if (status == ATTN_OK)
        status = class->parts(maker, document);
    if (status == ATTN_OK)
        status = attn_sentencepiece_added(maker, class->is_generic, &added);
    if (status == ATTN_OK)
        status = attn_maker_put(maker, document, "added_tokens", added);
    else
        json_decref(added);
    return status == ATTN_OK ? put_post_processor(maker, class, document) : status;
}

attn_status attn_sentencepiece_document(struct attn_reader *reader, const struct attn_sentencepiece *model,
                                        const json_t *config, json_t **document) {
    struct attn_sentencepiece_maker maker = {.reader = reader, .model = model, .config = config};
    json_t *made = json_object();
    attn_status status = made != NULL ? make_document(&maker, made) : attn_reader_no_memory(reader);
    attn_pool_reset(&maker.scratch);
    if (status == ATTN_OK)
        *document = made;
    else
        json_decref(made);
    return status;
}
