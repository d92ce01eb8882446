#include "lib/tokenizer/sentencepiece.h"

#include "lib/tokenizer/protobuf.h"
#include "lib/tokenizer/unicode.h"
#include "lib/tokenizer/vocabulary.h"

#include <math.h>
#include <string.h>

static struct attn_string text_of(const struct attn_protobuf_field *field) {
    return (struct attn_string){field->inside.bytes, field->inside.length};
}

/* Reads what is in one message; fields of another wire type than theirs are passed over, as protobuf does. */
typedef void (*field_function)(void *thing, const struct attn_protobuf_field *field);

static bool read_message(struct attn_protobuf message, field_function read, void *thing) {
    struct attn_protobuf_field field;
    enum attn_protobuf_step step;
    while ((step = attn_protobuf_next(&message, &field)) == ATTN_PROTOBUF_FIELD)
        read(thing, &field);
    return step == ATTN_PROTOBUF_END;
}

static void read_piece(void *thing, const struct attn_protobuf_field *field) {
    struct attn_sentencepiece_piece *piece = thing;
    if (field->number == 1 && field->wire == ATTN_PROTOBUF_BYTES)
        piece->text = text_of(field);
    else if (field->number == 2 && field->wire == ATTN_PROTOBUF_FIXED32)
        piece->score = attn_protobuf_float(field);
    else if (field->number == 3 && field->wire == ATTN_PROTOBUF_VARINT)
        piece->type = (uint32_t)field->value;
}

static void read_trainer_number(struct attn_sentencepiece *model, const struct attn_protobuf_field *field) {
    int32_t value = (int32_t)(uint32_t)field->value;
    switch (field->number) {
    case 3:
        model->algorithm = (enum attn_sentencepiece_algorithm)field->value;
        break;
    case 35:
        model->byte_fallback = field->value != 0;
        break;
    case 40:
        model->unk_id = value;
        break;
    case 41:
        model->bos_id = value;
        break;
    case 42:
        model->eos_id = value;
        break;
    default:
        break;
    }
}

static void read_trainer(void *thing, const struct attn_protobuf_field *field) {
    struct attn_sentencepiece *model = thing;
    if (field->wire == ATTN_PROTOBUF_VARINT)
        read_trainer_number(model, field);
    else if (field->wire == ATTN_PROTOBUF_BYTES && field->number == 45)
        model->unk_piece = text_of(field);
    else if (field->wire == ATTN_PROTOBUF_BYTES && field->number == 46)
        model->bos_piece = text_of(field);
    else if (field->wire == ATTN_PROTOBUF_BYTES && field->number == 47)
        model->eos_piece = text_of(field);
}

static void read_normalizer(void *thing, const struct attn_protobuf_field *field) {
    struct attn_sentencepiece *model = thing;
    if (field->number == 2 && field->wire == ATTN_PROTOBUF_BYTES)
        model->charsmap = text_of(field);
    else if (field->number == 3 && field->wire == ATTN_PROTOBUF_VARINT)
        model->add_dummy_prefix = field->value != 0;
    else if (field->number == 4 && field->wire == ATTN_PROTOBUF_VARINT)
        model->remove_extra_whitespaces = field->value != 0;
    else if (field->number == 5 && field->wire == ATTN_PROTOBUF_VARINT)
        model->escape_whitespaces = field->value != 0;
}

/* @return what is wrong with the piece, or NULL. */
static const char *take_piece(struct attn_sentencepiece *model, struct attn_protobuf message) {
    struct attn_sentencepiece_piece *piece = &model->pieces[model->count];
    *piece = (struct attn_sentencepiece_piece){.text = {"", 0}, .type = ATTN_SENTENCEPIECE_NORMAL};
    if (!read_message(message, read_piece, piece))
        return "a piece is broken";
    if (attn_utf8_valid(piece->text.bytes, piece->text.length) != piece->text.length)
        return "a piece is no UTF-8";
    if (memchr(piece->text.bytes, '\0', piece->text.length) != NULL)
        return "a piece holds a NUL";
    if (!isfinite(piece->score))
        return "a piece's score is no number";
    model->count++;
    return NULL;
}

/* @return how many pieces there are; SIZE_MAX for bytes that are no message. */
static size_t count_pieces(struct attn_protobuf message) {
    struct attn_protobuf_field field;
    enum attn_protobuf_step step;
    size_t count = 0;
    while ((step = attn_protobuf_next(&message, &field)) == ATTN_PROTOBUF_FIELD)
        count += field.number == 1 && field.wire == ATTN_PROTOBUF_BYTES;
    return step == ATTN_PROTOBUF_END ? count : SIZE_MAX;
}

static const char *take_fields(struct attn_sentencepiece *model, struct attn_protobuf message) {
    struct attn_protobuf_field field;
    const char *wrong = NULL;
    while (wrong == NULL && attn_protobuf_next(&message, &field) == ATTN_PROTOBUF_FIELD) {
        if (field.wire != ATTN_PROTOBUF_BYTES)
            continue;
        if (field.number == 1)
            wrong = take_piece(model, field.inside);
        else if (field.number == 2 && !read_message(field.inside, read_trainer, model))
            wrong = "the trainer's settings are broken";
        else if (field.number == 3 && !read_message(field.inside, read_normalizer, model))
            wrong = "the normaliser's settings are broken";
    }
    return wrong;
}

static bool is_text(struct attn_string text) {
    return attn_utf8_valid(text.bytes, text.length) == text.length && memchr(text.bytes, '\0', text.length) == NULL;
}

static bool is_id(const struct attn_sentencepiece *model, int32_t id) {
    return id >= -1 && (id < 0 || (size_t)id < model->count);
}

static const char *check(const struct attn_sentencepiece *model) {
    if (model->algorithm != ATTN_SENTENCEPIECE_UNIGRAM && model->algorithm != ATTN_SENTENCEPIECE_BPE)
        return "the model's type is not known; known are unigram and bpe";
    if (!is_id(model, model->unk_id) || !is_id(model, model->bos_id) || !is_id(model, model->eos_id))
        return "the id of a special piece is out of range";
    if (!is_text(model->unk_piece) || !is_text(model->bos_piece) || !is_text(model->eos_piece))
        return "the name of a special piece is no text";
    return NULL;
}

attn_status attn_sentencepiece_read(struct attn_reader *reader, const char *bytes, size_t length,
                                    struct attn_sentencepiece *model) {
    *model = (struct attn_sentencepiece){.algorithm = ATTN_SENTENCEPIECE_UNIGRAM,
                                         .bos_id = 1,
                                         .eos_id = 2,
                                         .unk_piece = {"<unk>", 5},
                                         .bos_piece = {"<s>", 3},
                                         .eos_piece = {"</s>", 4},
                                         .add_dummy_prefix = true,
                                         .remove_extra_whitespaces = true,
                                         .escape_whitespaces = true};
    struct attn_protobuf message = {bytes, length};
    size_t count = count_pieces(message);
    if (count == SIZE_MAX)
        return attn_reader_fail(reader, NULL, "the file is no SentencePiece model");
    if (count == 0 || count > ATTN_VOCABULARY_LIMIT)
        return attn_reader_fail(reader, NULL, "a model of %zu pieces; from 1 to %d are taken", count,
                                ATTN_VOCABULARY_LIMIT);
    model->pieces = attn_pool_take(reader->pool, count, sizeof *model->pieces);
    if (model->pieces == NULL)
        return attn_reader_no_memory(reader);
    const char *wrong = take_fields(model, message);
    if (wrong == NULL)
        wrong = check(model);
    return wrong == NULL ? ATTN_OK : attn_reader_fail(reader, NULL, "%s", wrong);
}
