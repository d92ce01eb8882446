/** @file byte_level.h GPT-2's characters for bytes: printable ones stand for themselves, others lie from U+0100 on. */
#ifndef LIB_TOKENIZER_BYTE_LEVEL_H
#define LIB_TOKENIZER_BYTE_LEVEL_H

#include "lib/tokenizer/parts.h"

/** @return the character for a byte, below U+0144. */
uint32_t attn_byte_character(unsigned char byte);
/** @return the byte that a character stands for; -1 where it stands for none. */
int attn_character_byte(uint32_t code_point);

/** Appends the characters for bytes, each with the place of its byte. @return false without memory. */
bool attn_byte_level_append(struct attn_text *text, const struct attn_slice *slice);

attn_status attn_byte_level_read(struct attn_reader *reader, const json_t *object, void **data);
attn_status attn_byte_level_apply(const void *data, struct attn_pieces *pieces, struct attn_error *error);

#endif
