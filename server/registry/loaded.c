#include "server/registry/loaded.h"
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One attention layer has some twenty tensors; a header beyond this is of something else. */
#define MOST_HEADER_BYTES (1U << 20)
#define MOST_TENSORS 256
#define MOST_HEADS 1000000

static struct file_identity identity_of(const struct stat *about) {
    return (struct file_identity){about->st_dev, about->st_ino, about->st_size, about->st_mtim};
}

bool file_identity_read(const char *path, struct file_identity *identity) {
    struct stat about;
    if (stat(path, &about) != 0)
        return false;
    *identity = identity_of(&about);
    return true;
}

bool file_identity_is_same(const struct file_identity *left, const struct file_identity *right) {
    return left->device == right->device && left->inode == right->inode && left->bytes == right->bytes &&
           left->modified.tv_sec == right->modified.tv_sec && left->modified.tv_nsec == right->modified.tv_nsec;
}

/* What can be said before the file is read, or where it cannot be. */
static void describe_path(struct loaded *loaded) {
    struct stat about;
    if (stat(loaded->path, &about) != 0)
        return;
    loaded->identity = identity_of(&about);
    if (S_ISREG(about.st_mode)) {
        loaded->model.bytes = (size_t)about.st_size;
        return;
    }
    loaded->model.kind = "transformer";
    loaded->model.architecture = NULL;
}

struct loaded *loaded_create(const struct load_source *source, enum model_status status, const char *reason) {
    struct loaded *loaded = calloc(1, sizeof *loaded);
    size_t id_bytes = strlen(source->id) + 1, reason_bytes = reason != NULL ? strlen(reason) + 1 : 0;
    if (loaded == NULL)
        return NULL;
    loaded->path = strdup(source->path);
    loaded->text = malloc(id_bytes + reason_bytes);
    if (loaded->path == NULL || loaded->text == NULL || pthread_mutex_init(&loaded->hash_lock, NULL) != 0) {
        free(loaded->path);
        free(loaded->text);
        free(loaded);
        return NULL;
    }
    memcpy(loaded->text, source->id, id_bytes);
    if (reason != NULL)
        memcpy(loaded->text + id_bytes, reason, reason_bytes);
    loaded->model = (struct model){.id = loaded->text,
                                   .kind = "attention",
                                   .architecture = "multi_head_attention",
                                   .status = status,
                                   .reason = reason != NULL ? loaded->text + id_bytes : NULL,
                                   .is_read_only = source->is_read_only};
    atomic_init(&loaded->references, 1);
    describe_path(loaded);
    return loaded;
}

struct loaded *loaded_acquire(struct loaded *loaded) {
    atomic_fetch_add(&loaded->references, 1);
    return loaded;
}

void loaded_release(struct loaded *loaded) {
    if (loaded == NULL || atomic_fetch_sub(&loaded->references, 1) != 1)
        return;
    attn_safetensors_close((struct attn_safetensors *)loaded->model.file);
    guard_remove(loaded->guard);
    if (loaded->bytes != NULL)
        munmap(loaded->bytes, loaded->model.bytes);
    for (size_t i = 0; i < loaded->copy_count; i++)
        free(loaded->copies[i]);
    free(loaded->copies);
    free(loaded->path);
    free(loaded->text);
    pthread_mutex_destroy(&loaded->hash_lock);
    free(loaded);
}

/* The file may be cut short from here on: the mapping is guarded before its first byte is read. */
static bool map_file(struct loaded *loaded, struct problem *problem) {
    struct stat about;
    int fd = open(loaded->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &about) != 0) {
        problem_set(problem, PROBLEM_MODEL_FAILED, NULL, "the model's file cannot be opened: %s", strerror(errno));
        goto failed;
    }
    if (!S_ISREG(about.st_mode)) {
        problem_set(problem, PROBLEM_MODEL_FAILED, NULL, "the model's file is not a regular file");
        goto failed;
    }
    loaded->identity = identity_of(&about);
    loaded->model.bytes = (size_t)about.st_size;
    if (about.st_size < 8) {
        problem_set(problem, PROBLEM_MALFORMED, NULL, "expected 8 bytes with the header's length, found %zu",
                    loaded->model.bytes);
        problem->has_offset = true;
        problem->offset = loaded->model.bytes;
        goto failed;
    }
    void *bytes = mmap(NULL, loaded->model.bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "the model's file cannot be mapped: %s", strerror(errno));
        goto failed;
    }
    loaded->bytes = bytes;
    loaded->guard = guard_add(bytes, loaded->model.bytes);
    if (loaded->guard == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no room for another model: at most %d are held", GUARD_CAPACITY);
        goto failed;
    }
    close(fd);
    return true;
failed:
    if (fd >= 0)
        close(fd);
    return false;
}

static bool parse_file(struct loaded *loaded, struct problem *problem) {
    struct attn_safetensors *file = NULL;
    struct attn_error error = {.status = ATTN_OK};
    const unsigned char *bytes = loaded->bytes;
    uint64_t header_bytes = 0;
    for (unsigned i = 0; i < 8; i++)
        header_bytes |= (uint64_t)bytes[i] << (8 * i);
    if (header_bytes > MOST_HEADER_BYTES && header_bytes <= ATTN_SAFETENSORS_MAX_HEADER &&
        header_bytes <= loaded->model.bytes - 8) {
        problem_set(problem, PROBLEM_INVALID, NULL,
                    "the header has %" PRIu64 " bytes; an attention layer's has at most %u", header_bytes,
                    MOST_HEADER_BYTES);
        return false;
    }
    if (attn_safetensors_parse(&file, bytes, loaded->model.bytes, &error) != ATTN_OK) {
        problem_from_attn(problem, &error);
        return false;
    }
    loaded->model.file = file;
    return true;
}

/* "8", and nothing like "+8", "8.0" or "0". */
static bool parse_heads(const char *text, size_t *heads) {
    size_t value = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || value > MOST_HEADS)
            return false;
        value = value * 10 + (size_t)(*at - '0');
    }
    *heads = value;
    return value >= 1 && value <= MOST_HEADS;
}

static bool parse_claim(const char *text, size_t *claim) {
    static const char *const words[][2] = {{"false", "true"}, {"False", "True"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (size_t value = 0; value < 2; value++)
            if (strcmp(text, words[i][value]) == 0) {
                *claim = value;
                return true;
            }
    return false;
}

/* A setting that may stand in the query string or in the file, and must not differ where it stands in both. */
struct setting {
    const char *name, *allowed, *given;
    bool (*parse)(const char *text, size_t *value);
    size_t value; /* what it is where it is not given */
};

static void blame_metadata(struct problem *problem, const char *name) {
    problem_pointer_append(problem->pointer, sizeof problem->pointer, "__metadata__", strlen("__metadata__"));
    problem_pointer_append(problem->pointer, sizeof problem->pointer, name, strlen(name));
}

static bool read_setting(const struct loaded *loaded, struct setting *setting, struct problem *problem) {
    const char *kept = attn_safetensors_metadata(loaded->model.file, setting->name);
    const char *given = setting->given != NULL && setting->given[0] != '\0' ? setting->given : NULL;
    size_t kept_value = 0;
    if (kept != NULL && !setting->parse(kept, &kept_value)) {
        problem_set(problem, PROBLEM_INVALID, NULL, "%s in __metadata__ is %s; found \"%.60s\"", setting->name,
                    setting->allowed, kept);
        blame_metadata(problem, setting->name);
        return false;
    }
    if (given != NULL && !setting->parse(given, &setting->value)) {
        problem_set(problem, PROBLEM_INVALID, NULL, "%s in the query string is %s; found \"%.60s\"", setting->name,
                    setting->allowed, given);
        snprintf(problem->parameter, sizeof problem->parameter, "%s", setting->name);
        return false;
    }
    if (given != NULL && kept != NULL && kept_value != setting->value) {
        problem_set(problem, PROBLEM_INVALID, NULL, "%s is \"%.60s\" in the query string and \"%.60s\" in __metadata__",
                    setting->name, given, kept);
        snprintf(problem->parameter, sizeof problem->parameter, "%s", setting->name);
        return false;
    }
    setting->value = kept != NULL ? kept_value : setting->value;
    return true;
}

static bool read_layer_config(const struct loaded *loaded, const struct registry_put_options *put_options,
                              struct attn_layer_config *config, struct problem *problem) {
    static const struct registry_put_options nothing = {.num_heads = NULL};
    static const char heads_allowed[] = "a whole number from 1 to 1000000";
    const struct registry_put_options *options = put_options != NULL ? put_options : &nothing;
    struct setting heads = {"num_heads", heads_allowed, options->num_heads, parse_heads, 0};
    struct setting kv_heads = {"num_kv_heads", heads_allowed, options->num_kv_heads, parse_heads, 0};
    struct setting zero = {"add_zero_attn", "true or false", options->add_zero_attn, parse_claim, 0};
    if (!read_setting(loaded, &heads, problem) || !read_setting(loaded, &kv_heads, problem) ||
        !read_setting(loaded, &zero, problem))
        return false;
    if (heads.value == 0) {
        problem_set(problem, PROBLEM_INVALID, NULL,
                    "num_heads is missing: expected in __metadata__ or as the query parameter num_heads");
        blame_metadata(problem, "num_heads");
        return false;
    }
    *config = (struct attn_layer_config){heads.value, kv_heads.value, zero.value != 0};
    return true;
}

/* float64 where any tensor is: every other floating dtype goes into it without loss; float32 else. */
static attn_dtype choose_dtype(const struct attn_safetensors *file) {
    for (size_t i = 0; i < attn_safetensors_count(file); i++)
        if (attn_safetensors_tensor(file, i).view.dtype == ATTN_FLOAT64)
            return ATTN_FLOAT64;
    return ATTN_FLOAT32;
}

/* A state dict of nn.TransformerEncoder or nn.Transformer is well-formed, and no attention layer. */
static bool check_is_one_layer(const struct attn_safetensors *file, struct problem *problem) {
    static const char *const prefixes[] = {"layers.", "encoder.layers.", "decoder.layers."};
    for (size_t i = 0; i < attn_safetensors_count(file); i++)
        for (size_t j = 0; j < sizeof prefixes / sizeof *prefixes; j++) {
            const char *name = attn_safetensors_tensor(file, i).name;
            if (strncmp(name, prefixes[j], strlen(prefixes[j])) != 0)
                continue;
            problem_set(problem, PROBLEM_INVALID, NULL,
                        "whole transformer models are not served yet; expected one attention layer, found \"%.80s\"",
                        name);
            problem_pointer_append(problem->pointer, sizeof problem->pointer, name, strlen(name));
            return false;
        }
    return true;
}

/* What the file has, for the listing. */
static void describe_file(struct loaded *loaded) {
    const struct attn_safetensors *file = loaded->model.file;
    for (size_t i = 0; i < attn_safetensors_count(file); i++) {
        struct attn_view view = attn_safetensors_tensor(file, i).view;
        const char *name = attn_dtype_name(view.dtype);
        loaded->model.dtype = i == 0 || strcmp(loaded->model.dtype, name) == 0 ? name : "mixed";
        loaded->model.parameters += attn_view_elements(&view);
    }
}

/* Makes *view one of `dtype` that kernels can read: in place where it is so already, else a copy. */
static bool adopt_tensor(struct loaded *loaded, const char *name, attn_dtype dtype, struct attn_view *view,
                         struct problem *problem) {
    struct attn_error error;
    size_t element = attn_dtype_bytes(dtype), bytes = 0, sizes[2] = {attn_view_elements(view), element};
    if (view->dtype == dtype && (uintptr_t)view->data % element == 0)
        return true;
    void *copy = attn_size_product(sizes, 2, &bytes) ? aligned_alloc(64, (bytes / 64 + 1) * 64) : NULL;
    if (copy == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for the tensor \"%.80s\"", name);
        return false;
    }
    loaded->copies[loaded->copy_count++] = copy;
    struct attn_view to = attn_view_contiguous(copy, dtype, view->rank, view->shape);
    if (view->dtype == dtype) {
        memcpy(copy, view->data, bytes);
    } else if (attn_view_convert(view, &to, &error) != ATTN_OK) {
        problem_set(problem, PROBLEM_INVALID, NULL,
                    "expected floating tensors in an attention layer, found %s in \"%.80s\"",
                    attn_dtype_name(view->dtype), name);
        problem_pointer_append(problem->pointer, sizeof problem->pointer, name, strlen(name));
        return false;
    }
    *view = to;
    return true;
}

static bool adopt_tensors(struct loaded *loaded, struct attn_named_view *tensors, size_t count,
                          struct problem *problem) {
    attn_dtype dtype = choose_dtype(loaded->model.file);
    loaded->copies = calloc(count + 1, sizeof *loaded->copies);
    if (loaded->copies == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for the model");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        tensors[i] = attn_safetensors_tensor(loaded->model.file, i);
        if (!adopt_tensor(loaded, tensors[i].name, dtype, &tensors[i].view, problem))
            return false;
    }
    return true;
}

/* It stands where it was said: in the query string or in the file. */
static void blame_kv_heads(struct problem *problem, const struct registry_put_options *put_options) {
    problem->pointer[0] = '\0';
    if (put_options != NULL && put_options->num_kv_heads != NULL && put_options->num_kv_heads[0] != '\0')
        snprintf(problem->parameter, sizeof problem->parameter, "num_kv_heads");
    else
        blame_metadata(problem, "num_kv_heads");
}

static bool resolve_layer(struct loaded *loaded, const struct registry_put_options *put_options,
                          struct problem *problem) {
    struct attn_named_view tensors[MOST_TENSORS];
    struct attn_layer_config config;
    struct attn_error error = {.status = ATTN_OK};
    size_t count = attn_safetensors_count(loaded->model.file);
    if (!check_is_one_layer(loaded->model.file, problem))
        return false;
    if (count > MOST_TENSORS) {
        problem_set(problem, PROBLEM_INVALID, NULL, "expected one attention layer, found %zu tensors", count);
        return false;
    }
    if (!read_layer_config(loaded, put_options, &config, problem) || !adopt_tensors(loaded, tensors, count, problem))
        return false;
    struct model *model = &loaded->model;
    if (attn_layer_resolve(tensors, count, &config, &model->layer, &error) != ATTN_OK) {
        problem_from_attn(problem, &error);
        if (strcmp(error.field, "num_kv_heads") == 0)
            blame_kv_heads(problem, put_options);
        return false;
    }
    model->layers = 1;
    model->heads = model->layer.num_heads;
    model->kv_heads = model->layer.num_kv_heads;
    model->hidden_size = model->layer.query_width;
    return true;
}

struct loaded *loaded_open(const struct load_source *source, const struct registry_put_options *put_options,
                           struct problem *problem) {
    struct loaded *loaded = loaded_create(source, MODEL_READY, NULL);
    if (loaded == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for the model");
        return NULL;
    }
    loaded->model.dtype = "float32";
    bool is_read = map_file(loaded, problem) && parse_file(loaded, problem);
    if (is_read)
        describe_file(loaded);
    is_read = is_read && resolve_layer(loaded, put_options, problem);
    if (guard_is_broken(loaded->guard)) {
        problem_set(problem, PROBLEM_MODEL_FAILED, NULL, "the model's file was cut short while it was read");
        is_read = false;
    }
    if (is_read)
        return loaded;
    loaded_release(loaded);
    return NULL;
}

static void print_hex(const unsigned char *digest, char *text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[64] = '\0';
}

#define HASH_BLOCK_BYTES ((size_t)1 << 20)

static bool is_stopped(const atomic_bool *stops) {
    return stops != NULL && atomic_load(stops);
}

static bool hash_mapping(const struct loaded *loaded, gnutls_hash_hd_t hash, const atomic_bool *stops) {
    const char *bytes = loaded->bytes;
    for (size_t at = 0; at < loaded->model.bytes; at += HASH_BLOCK_BYTES) {
        size_t left = loaded->model.bytes - at;
        if (is_stopped(stops) || gnutls_hash(hash, bytes + at, left < HASH_BLOCK_BYTES ? left : HASH_BLOCK_BYTES) != 0)
            return false;
    }
    return true;
}

static bool hash_file(const char *path, gnutls_hash_hd_t hash, const atomic_bool *stops) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    void *block = malloc(HASH_BLOCK_BYTES);
    ssize_t bytes = -1;
    while (fd >= 0 && block != NULL && !is_stopped(stops) && (bytes = read(fd, block, HASH_BLOCK_BYTES)) > 0)
        gnutls_hash(hash, block, (size_t)bytes);
    free(block);
    if (fd >= 0)
        close(fd);
    return bytes == 0;
}

/* Of the mapping where there is one: the path may name another file by now. */
static void make_hash(struct loaded *loaded, const atomic_bool *stops) {
    unsigned char digest[32];
    gnutls_hash_hd_t hash;
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) != 0)
        return;
    bool is_made = loaded->bytes != NULL ? hash_mapping(loaded, hash, stops) : hash_file(loaded->path, hash, stops);
    gnutls_hash_deinit(hash, digest);
    if (is_made)
        print_hex(digest, loaded->sha256);
    if (is_made || !is_stopped(stops))
        atomic_store(&loaded->is_hashed, true);
}

void loaded_hash(struct loaded *loaded, const atomic_bool *stops) {
    if (loaded->model.status == MODEL_LOADING)
        return;
    pthread_mutex_lock(&loaded->hash_lock);
    if (!atomic_load(&loaded->is_hashed))
        make_hash(loaded, stops);
    pthread_mutex_unlock(&loaded->hash_lock);
}

const char *registry_model_sha256(const struct model *model) {
    struct loaded *loaded = (struct loaded *)model;
    if (model->status == MODEL_LOADING)
        return "";
    loaded_hash(loaded, NULL);
    return loaded->sha256;
}

bool registry_model_is_hashed(const struct model *model) {
    return model->status == MODEL_LOADING || atomic_load(&((struct loaded *)model)->is_hashed);
}

bool registry_model_is_broken(const struct model *model) {
    return guard_is_broken(((const struct loaded *)model)->guard);
}
