#include "server/registry/loaded.h"
#include "server/registry/layer.h"
#include "server/registry/whole.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The header of a file that comes alone has some hundred bytes a tensor; one beyond this is of something else. */
#define MOST_HEADER_BYTES (8U << 20)

/* Opens and lists a folder, whose files may change later: what is loaded is compared with this. */
static void describe_folder(struct loaded *loaded) {
    loaded->model.kind = "transformer";
    loaded->model.architecture = NULL;
    loaded->is_folder = true;
    loaded->folder_fd = open(loaded->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (loaded->folder_fd >= 0)
        (void)folder_list(&loaded->folder, loaded->folder_fd);
}

/* What can be said before the file is read, or where it cannot be. */
static void describe_path(struct loaded *loaded) {
    struct stat about;
    loaded->folder_fd = -1;
    if (stat(loaded->path, &about) != 0 || !file_identity_read(loaded->path, &loaded->identity))
        return;
    if (S_ISDIR(about.st_mode))
        describe_folder(loaded);
    else if (S_ISREG(about.st_mode))
        loaded->model.bytes = (size_t)about.st_size;
}

struct loaded *loaded_create(const struct load_source *source, enum model_status status, const char *reason) {
    struct loaded *loaded = calloc(1, sizeof *loaded);
    size_t id_bytes = strlen(source->id) + 1, reason_bytes = reason != NULL ? strlen(reason) + 1 : 0;
    if (loaded == NULL)
        return NULL;
    loaded->path = strdup(source->path);
    loaded->text = malloc(id_bytes + reason_bytes);
    if (loaded->path == NULL || loaded->text == NULL) {
        free(loaded->path);
        free(loaded->text);
        free(loaded);
        return NULL;
    }
    pthread_mutex_init(&loaded->hash_lock, NULL);
    pthread_mutex_init(&loaded->tokenizer_lock, NULL);
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

/* A mapping loses its guard before it goes. */
static void close_model(struct loaded *loaded) {
    for (size_t i = 0; i < loaded->guard_count; i++)
        guard_remove(loaded->guards[i]);
    attn_model_close((struct attn_model *)loaded->model.transformer);
    attn_tokenizer_close((struct attn_tokenizer *)loaded->model.tokenizer);
    attn_safetensors_close((struct attn_safetensors *)loaded->model.file);
    if (loaded->bytes != NULL)
        munmap(loaded->bytes, loaded->model.bytes);
    if (loaded->folder_fd >= 0)
        close(loaded->folder_fd);
    folder_reset(&loaded->folder);
}

void loaded_release(struct loaded *loaded) {
    if (loaded == NULL || atomic_fetch_sub(&loaded->references, 1) != 1)
        return;
    close_model(loaded);
    for (size_t i = 0; i < loaded->copy_count; i++)
        free(loaded->copies[i]);
    free(loaded->copies);
    free(loaded->guards);
    free(loaded->path);
    free(loaded->text);
    free(loaded->tokenizer_reason);
    pthread_mutex_destroy(&loaded->hash_lock);
    pthread_mutex_destroy(&loaded->tokenizer_lock);
    free(loaded);
}

bool loaded_guard(struct loaded *loaded, void *bytes, size_t length, struct problem *problem) {
    struct guard **guards = reallocarray(loaded->guards, loaded->guard_count + 1, sizeof *guards);
    if (guards == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for the model");
        return false;
    }
    loaded->guards = guards;
    guards[loaded->guard_count] = guard_add(bytes, length);
    if (guards[loaded->guard_count] == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no room for another model: at most %d files are mapped",
                    GUARD_CAPACITY);
        return false;
    }
    loaded->guard_count++;
    return true;
}

bool loaded_is_current(const struct loaded *loaded, const char *path) {
    struct file_identity identity;
    if (strcmp(loaded->path, path) != 0 || registry_model_is_broken(&loaded->model))
        return false;
    if (loaded->is_folder)
        return folder_is_current(&loaded->folder, path);
    return file_identity_read(path, &identity) && file_identity_is_same(&identity, &loaded->identity);
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
    loaded->identity = file_identity_of(&about);
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
    if (!loaded_guard(loaded, bytes, loaded->model.bytes, problem))
        goto failed;
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
                    "the header has %" PRIu64 " bytes; a model's that comes as one file has at most %u", header_bytes,
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

static bool open_file(struct loaded *loaded, const struct registry_put_options *put_options, struct problem *problem) {
    static const struct registry_put_options nothing = {.num_heads = NULL};
    const struct registry_put_options *options = put_options != NULL ? put_options : &nothing;
    loaded->model.dtype = "float32";
    if (!map_file(loaded, problem) || !parse_file(loaded, problem))
        return false;
    describe_file(loaded);
    return attn_model_is_state_dict(loaded->model.file) ? whole_open_state_dict(loaded, options, problem)
                                                        : layer_resolve(loaded, options, problem);
}

/* Files that change while one after the other is read would be a mixture. */
static bool check_unchanged(const struct loaded *loaded, struct problem *problem) {
    if (registry_model_is_broken(&loaded->model)) {
        problem_set(problem, PROBLEM_MODEL_FAILED, NULL, "the model's file was cut short while it was read");
        return false;
    }
    if (loaded->is_folder && !folder_is_current(&loaded->folder, loaded->path)) {
        problem_set(problem, PROBLEM_MODEL_FAILED, NULL, "the model's files were changed while they were read");
        return false;
    }
    return true;
}

struct loaded *loaded_open(const struct load_source *source, const struct registry_put_options *put_options,
                           struct problem *problem) {
    struct loaded *loaded = loaded_create(source, MODEL_READY, NULL);
    if (loaded == NULL) {
        problem_set(problem, PROBLEM_NO_ROOM, NULL, "no memory for the model");
        return NULL;
    }
    bool is_read = loaded->is_folder ? whole_open_folder(loaded, problem) : open_file(loaded, put_options, problem);
    if (is_read || problem->id != PROBLEM_NO_ROOM)
        is_read = check_unchanged(loaded, problem) && is_read;
    if (is_read)
        return loaded;
    loaded_release(loaded);
    return NULL;
}

bool loaded_open_tokenizer(struct loaded *loaded, struct problem *problem) {
    if (atomic_load(&loaded->has_tokenizer) || !loaded->is_folder || loaded->model.status != MODEL_READY)
        return true;
    bool is_usable = true;
    pthread_mutex_lock(&loaded->tokenizer_lock);
    if (!atomic_load(&loaded->has_tokenizer))
        is_usable = whole_open_tokenizer(loaded, problem);
    atomic_store(&loaded->has_tokenizer, true);
    pthread_mutex_unlock(&loaded->tokenizer_lock);
    return is_usable;
}

static bool hash_path(const char *path, const atomic_bool *stops, char *text) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is_hashed = fd >= 0 && hash_descriptor(fd, stops, text);
    if (fd >= 0)
        close(fd);
    return is_hashed;
}

/* Of the mapping where there is one: the path may name another file by now. */
static void make_hash(struct loaded *loaded, const atomic_bool *stops) {
    char text[HASH_TEXT_BYTES];
    bool is_made;
    if (loaded->is_folder)
        is_made = loaded->folder_fd >= 0 && folder_hash(&loaded->folder, loaded->folder_fd, stops, text);
    else if (loaded->bytes != NULL)
        is_made = hash_bytes(loaded->bytes, loaded->model.bytes, stops, text);
    else
        is_made = hash_path(loaded->path, stops, text);
    if (is_made)
        memcpy(loaded->sha256, text, sizeof text);
    if (is_made || stops == NULL || !atomic_load(stops))
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
    const struct loaded *loaded = (const struct loaded *)model;
    for (size_t i = 0; i < loaded->guard_count; i++)
        if (guard_is_broken(loaded->guards[i]))
            return true;
    return false;
}
