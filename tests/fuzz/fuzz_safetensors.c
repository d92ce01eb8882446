/* libFuzzer target: any bytes are parsed or refused; every tensor of what is parsed lies within the bytes. */
#include <attn/safetensors.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct attn_safetensors *file = NULL;
    struct attn_error error;
    if (attn_safetensors_parse(&file, bytes, length, &error) != ATTN_OK) {
        if (error.status == ATTN_EFORMAT && error.offset > length)
            abort();
        return 0;
    }
    for (size_t i = 0; i < attn_safetensors_count(file); i++) {
        struct attn_named_view tensor = attn_safetensors_tensor(file, i);
        const uint8_t *begin = tensor.view.data;
        size_t size = attn_view_elements(&tensor.view) * attn_dtype_bytes(tensor.view.dtype);
        if (begin < bytes || begin + size > bytes + length || attn_safetensors_find(file, tensor.name).name == NULL)
            abort();
    }
    attn_safetensors_close(file);
    return 0;
}
