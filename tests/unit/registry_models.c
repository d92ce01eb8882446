/* Models on disk: found, loaded, replaced, removed, cut short; each test in a directory of its own. */
#include "server/registry/registry.h"
#include "tests/unit/directory.h"
#include "tests/unit/run_suite.h"
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void make_folder(const char *name) {
    ck_assert_int_eq(mkdir(in_directory(name), 0700), 0);
}

/* What a layer's file is made of. */
struct recipe {
    size_t width;
    attn_dtype dtype;
    const char *num_heads; /* NULL: not in the metadata */
    unsigned char fill;    /* of every byte of the weights */
    size_t padding;        /* bytes of a tensor before the others, to put them off their alignment */
};

#define RECIPE                                                                                                         \
    { .width = 8, .dtype = ATTN_FLOAT32, .num_heads = "2" }

static void write_layer(const char *path, struct recipe recipe) {
    size_t width = recipe.width, first = recipe.padding > 0 ? 0 : 1, count = 5;
    const size_t square[] = {width, width}, triple[] = {3 * width, width}, line[] = {width}, wide[] = {3 * width};
    const struct attn_safetensors_item items[] = {
        {"a", attn_view_contiguous(NULL, recipe.dtype, 1, &recipe.padding)},
        {"in_proj_weight", attn_view_contiguous(NULL, recipe.dtype, 2, triple)},
        {"in_proj_bias", attn_view_contiguous(NULL, recipe.dtype, 1, wide)},
        {"out_proj.weight", attn_view_contiguous(NULL, recipe.dtype, 2, square)},
        {"out_proj.bias", attn_view_contiguous(NULL, recipe.dtype, 1, line)},
    };
    const struct attn_metadata metadata = {"num_heads", recipe.num_heads};
    unsigned char *header;
    size_t header_length, elements = 4 * width * width + 4 * width + recipe.padding;
    ck_assert_int_eq(attn_safetensors_header(items + first, count - first, &metadata, recipe.num_heads != NULL, &header,
                                             &header_length, NULL),
                     ATTN_OK);
    size_t data = elements * attn_dtype_bytes(recipe.dtype);
    header = realloc(header, header_length + data);
    ck_assert_ptr_nonnull(header);
    memset(header + header_length, recipe.fill, data);
    write_bytes(path, header, header_length + data);
    free(header);
}

static struct registry *start(void) {
    struct registry_options options = {.directory = directory};
    struct problem problem;
    struct registry *registry = registry_create(&options, &problem);
    ck_assert_msg(registry != NULL, "%s", problem.detail);
    return registry;
}

static size_t await_settled(struct registry *registry) {
    size_t failed = 0;
    for (int i = 0; i < 10000 && !registry_is_settled(registry, &failed); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    ck_assert(registry_is_settled(registry, &failed));
    return failed;
}

static const struct model *acquire(struct registry *registry, const char *id) {
    struct problem problem;
    const struct model *model = registry_acquire(registry, id, &problem);
    ck_assert_msg(model != NULL, "%s: %s", id, problem.detail);
    return model;
}

static enum problem_id acquire_problem(struct registry *registry, const char *id) {
    struct problem problem = {.id = PROBLEM_NONE};
    const struct model *model = registry_acquire(registry, id, &problem);
    if (model != NULL)
        registry_release(registry, model);
    return problem.id;
}

/* Uploads a layer as a client would. @return the problem's id, PROBLEM_NONE where it was taken. */
static struct problem put(struct registry *registry, const char *id, struct recipe recipe,
                          const struct registry_put_options *options, const struct registry_condition *condition,
                          bool *replaced) {
    struct problem problem = {.id = PROBLEM_NONE};
    bool ignored;
    char *path = NULL;
    int fd = registry_upload_open(registry, &path, &problem);
    if (fd < 0)
        return problem;
    write_layer(path, recipe);
    const struct model *model =
        registry_put(registry, id, path, options, condition, replaced != NULL ? replaced : &ignored, &problem);
    if (model != NULL)
        registry_release(registry, model);
    else
        unlink(path);
    close(fd);
    free(path);
    return problem;
}

static size_t count_uploads(void) {
    char command[160], text[32] = "";
    snprintf(command, sizeof command, "ls -A %s/.uploads 2>/dev/null | wc -l", directory);
    FILE *from = popen(command, "r");
    ck_assert_ptr_nonnull(from);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, from));
    pclose(from);
    return strtoul(text, NULL, 10);
}

static float first_weight(const struct model *model) {
    float value;
    memcpy(&value, model->layer.q_weight.data, sizeof value);
    return value;
}

START_TEST(ids_are_one_or_two_plain_names) {
    static const char *const good[] = {"a", "A-b_c.d", "org/name", "0", "attention/x", "config/x", "x/attention"};
    static const char *const bad[] = {"",      "/",       "a/",       "/a",     "a/b/c",    "..",    "../a",
                                      "a/..",  ".a",      "-a",       "a/.b",   "a b",      "a\\b",  "\xC3\xA4",
                                      "a%2fb", "a\n",     "config",   "infer",  "load",     "ready", "unload",
                                      "stats", "a/stats", "versions", "a/load", "attention"};
    struct problem problem;
    char longest[300];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(registry_id_check(good[i], NULL, &problem), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!registry_id_check(bad[i], "/model", &problem), "%s", bad[i]);
        ck_assert_int_eq(problem.id, PROBLEM_INVALID);
        ck_assert_str_eq(problem.pointer, "/model");
    }
    memset(longest, 'x', sizeof longest);
    longest[128] = '\0';
    ck_assert(registry_id_check(longest, NULL, &problem));
    longest[128] = 'x';
    longest[129] = '\0';
    ck_assert(!registry_id_check(longest, NULL, &problem));
}
END_TEST

START_TEST(layers_in_the_directory_are_loaded_and_described) {
    make_directory();
    make_folder("org");
    write_layer(in_directory("one.safetensors"), (struct recipe)RECIPE);
    write_layer(in_directory("org/two.safetensors"), (struct recipe){16, ATTN_FLOAT16, "4", 0, 0});
    struct registry *registry = start();
    ck_assert_uint_eq(await_settled(registry), 0);
    const struct model **models;
    ck_assert_uint_eq(registry_list(registry, &models), 2);
    const struct model *one = models[0], *two = models[1];
    ck_assert_str_eq(one->id, "one");
    ck_assert_int_eq(one->status, MODEL_READY);
    ck_assert_uint_eq(one->heads, 2);
    ck_assert_uint_eq(one->kv_heads, 2);
    ck_assert_uint_eq(one->layers, 1);
    ck_assert_uint_eq(one->hidden_size, 8);
    ck_assert_uint_eq(one->parameters, 4 * 64 + 4 * 8);
    ck_assert_str_eq(one->dtype, "float32");
    ck_assert_str_eq(two->id, "org/two");
    ck_assert_str_eq(two->dtype, "float16");
    ck_assert_uint_eq(two->heads, 4);
    ck_assert_int_eq(two->layer.q_weight.dtype, ATTN_FLOAT32);
    registry_release(registry, one);
    registry_release(registry, two);
    free(models);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(the_hash_is_the_files_sha256) {
    make_directory();
    write_layer(in_directory("a.safetensors"), (struct recipe)RECIPE);
    struct registry *registry = start();
    await_settled(registry);
    const struct model *model = acquire(registry, "a");
    char command[256], text[80] = "";
    snprintf(command, sizeof command, "sha256sum %s", in_directory("a.safetensors"));
    FILE *from = popen(command, "r");
    ck_assert_ptr_nonnull(fgets(text, 65, from));
    pclose(from);
    ck_assert_str_eq(registry_model_sha256(model), text);
    ck_assert(registry_model_is_hashed(model));
    registry_release(registry, model);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(what_cannot_be_loaded_is_listed_as_failed_with_its_reason) {
    static const char *const expected[][2] = {
        {"bert", "config.json/model_type: "},
        {"cut", "tensor \"in_proj_weight\""},
        {"headless", "num_heads is missing"},
        {"org/gpt", "config.json/model_type: "},
        {"stats", "the file's name makes no possible model id"},
        {"text", "expected '{' at the header's first byte"},
    };
    make_directory();
    make_folder("bert");
    make_folder("org");
    make_folder("org/gpt");
    make_folder(".hidden");
    write_bytes(in_directory("bert/config.json"), "{}", 2);
    write_layer(in_directory("bert/model.safetensors"), (struct recipe)RECIPE);
    write_bytes(in_directory("org/gpt/config.json"), "{}", 2);
    write_bytes(in_directory("text.safetensors"), "\1\0\0\0\0\0\0\0x", 9);
    write_layer(in_directory("headless.safetensors"), (struct recipe){8, ATTN_FLOAT32, NULL, 0, 0});
    write_layer(in_directory("stats.safetensors"), (struct recipe)RECIPE);
    write_layer(in_directory("cut.safetensors"), (struct recipe)RECIPE);
    write_bytes(in_directory("notes.txt"), "x", 1);
    ck_assert_int_eq(truncate(in_directory("cut.safetensors"), 700), 0);
    struct registry *registry = start();
    ck_assert_uint_eq(await_settled(registry), 6);
    const struct model **models;
    ck_assert_uint_eq(registry_list(registry, &models), 6);
    for (size_t i = 0; i < 6; i++) {
        ck_assert_str_eq(models[i]->id, expected[i][0]);
        ck_assert_int_eq(models[i]->status, MODEL_FAILED);
        if (strcmp(models[i]->id, "cut") != 0)
            ck_assert_msg(strstr(models[i]->reason, expected[i][1]) != NULL, "%s", models[i]->reason);
        registry_release(registry, models[i]);
    }
    free(models);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(weights_are_used_in_place_and_copied_only_where_they_must_be) {
    make_directory();
    write_layer(in_directory("plain.safetensors"), (struct recipe)RECIPE);
    write_layer(in_directory("wide.safetensors"), (struct recipe){8, ATTN_FLOAT64, "2", 0, 0});
    write_layer(in_directory("half.safetensors"), (struct recipe){8, ATTN_BFLOAT16, "2", 0x3F, 0});
    struct registry *registry = start();
    await_settled(registry);
    static const char *const ids[] = {"plain", "wide", "half"};
    for (size_t i = 0; i < 3; i++) {
        const struct model *model = acquire(registry, ids[i]);
        size_t length;
        const unsigned char *bytes = attn_safetensors_bytes(model->file, &length);
        const unsigned char *weight = model->layer.q_weight.data;
        ck_assert_int_eq(weight >= bytes && weight < bytes + length, i < 2);
        ck_assert_int_eq(model->layer.q_weight.dtype, i == 1 ? ATTN_FLOAT64 : ATTN_FLOAT32);
        registry_release(registry, model);
    }
    const struct model *half = acquire(registry, "half");
    ck_assert_float_eq(first_weight(half), 0.74609375F); /* bfloat16 0x3F3F */
    registry_release(registry, half);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

/* Moves the data by one byte: a space more in the header, so that nothing stands where float32 wants to be. */
START_TEST(misaligned_weights_are_copied) {
    unsigned char bytes[4096];
    make_directory();
    write_layer(in_directory("a.safetensors"), (struct recipe){8, ATTN_FLOAT32, "2", 0x3F, 0});
    FILE *from = fopen(in_directory("a.safetensors"), "rb");
    size_t length = fread(bytes, 1, sizeof bytes - 1, from);
    fclose(from);
    size_t header = bytes[0] + 256U * bytes[1];
    memmove(bytes + 8 + header + 1, bytes + 8 + header, length - 8 - header);
    bytes[8 + header] = ' ';
    bytes[0] = (unsigned char)((header + 1) & 255);
    bytes[1] = (unsigned char)((header + 1) >> 8);
    write_bytes(in_directory("a.safetensors"), bytes, length + 1);
    struct registry *registry = start();
    ck_assert_uint_eq(await_settled(registry), 0);
    const struct model *model = acquire(registry, "a");
    ck_assert_uint_eq((uintptr_t)model->layer.q_weight.data % 4, 0);
    ck_assert_float_eq(first_weight(model), 0.747058809F); /* 0x3F3F3F3F */
    registry_release(registry, model);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(an_upload_is_there_after_a_restart_with_the_settings_it_was_given) {
    struct registry_put_options options = {.num_heads = "4", .num_kv_heads = ""};
    bool replaced = true;
    make_directory();
    struct registry *registry = start();
    struct problem problem =
        put(registry, "org/new", (struct recipe){8, ATTN_FLOAT32, NULL, 0, 0}, &options, NULL, &replaced);
    ck_assert_msg(problem.id == PROBLEM_NONE, "%s", problem.detail);
    ck_assert(!replaced);
    ck_assert_uint_eq(count_uploads(), 0);
    const struct model *model = acquire(registry, "org/new");
    char hash[65];
    memcpy(hash, registry_model_sha256(model), 65);
    registry_release(registry, model);
    registry_destroy(registry);

    registry = start();
    ck_assert_uint_eq(await_settled(registry), 0);
    model = acquire(registry, "org/new");
    ck_assert_uint_eq(model->heads, 4);
    ck_assert_str_eq(registry_model_sha256(model), hash);
    registry_release(registry, model);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(a_refused_upload_leaves_the_old_model) {
    static const struct {
        struct recipe recipe;
        struct registry_put_options options;
        enum problem_id id;
        const char *pointer, *parameter;
    } cases[] = {
        {{8, ATTN_FLOAT32, NULL, 0, 0}, {.num_heads = NULL}, PROBLEM_INVALID, "/__metadata__/num_heads", ""},
        {{8, ATTN_FLOAT32, "0", 0, 0}, {.num_heads = NULL}, PROBLEM_INVALID, "/__metadata__/num_heads", ""},
        {{8, ATTN_FLOAT32, "2.0", 0, 0}, {.num_heads = NULL}, PROBLEM_INVALID, "/__metadata__/num_heads", ""},
        {{8, ATTN_FLOAT32, "2", 0, 0}, {.num_heads = "two"}, PROBLEM_INVALID, "", "num_heads"},
        {{8, ATTN_FLOAT32, "2", 0, 0}, {.num_heads = "4"}, PROBLEM_INVALID, "", "num_heads"},
        {{8, ATTN_FLOAT32, "2", 0, 0}, {.add_zero_attn = "maybe"}, PROBLEM_INVALID, "", "add_zero_attn"},
        {{8, ATTN_FLOAT32, "3", 0, 0}, {.num_heads = NULL}, PROBLEM_INVALID, "/in_proj_weight", ""},
        {{8, ATTN_INT32, "2", 0, 0}, {.num_heads = NULL}, PROBLEM_INVALID, "/in_proj_weight", ""},
    };
    make_directory();
    struct registry *registry = start();
    ck_assert_int_eq(put(registry, "m", (struct recipe)RECIPE, NULL, NULL, NULL).id, PROBLEM_NONE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct problem problem = put(registry, "m", cases[i].recipe, &cases[i].options, NULL, NULL);
        ck_assert_msg(problem.id == cases[i].id, "case %zu: %s", i, problem.detail);
        ck_assert_msg(strcmp(problem.pointer, cases[i].pointer) == 0, "case %zu: %s", i, problem.pointer);
        ck_assert_str_eq(problem.parameter, cases[i].parameter);
    }
    ck_assert_uint_eq(count_uploads(), 0);
    const struct model *model = acquire(registry, "m");
    ck_assert_uint_eq(model->heads, 2);
    registry_release(registry, model);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(conditions_decide_over_writes) {
    char tag[80], weak[96];
    make_directory();
    struct registry *registry = start();
    struct recipe recipe = RECIPE;
    struct registry_condition any = {.if_match = "*"}, none = {.if_none_match = "*"}, exact = {.if_match = tag},
                              is_weak = {.if_match = weak}, broken = {.if_match = "abc"}, not_this = {NULL, tag};
    ck_assert_int_eq(put(registry, "m", recipe, NULL, &any, NULL).id, PROBLEM_PRECONDITION);
    ck_assert_int_eq(put(registry, "m", recipe, NULL, &none, NULL).id, PROBLEM_NONE);
    ck_assert_int_eq(put(registry, "m", recipe, NULL, &none, NULL).id, PROBLEM_PRECONDITION);
    const struct model *model = acquire(registry, "m");
    snprintf(tag, sizeof tag, "\"%s\"", registry_model_sha256(model));
    snprintf(weak, sizeof weak, "W/%s", tag);
    registry_release(registry, model);
    ck_assert_int_eq(put(registry, "m", recipe, NULL, &is_weak, NULL).id, PROBLEM_PRECONDITION);
    ck_assert_int_eq(put(registry, "m", recipe, NULL, &broken, NULL).id, PROBLEM_BAD_HEADER);
    ck_assert_int_eq(put(registry, "m", recipe, NULL, &not_this, NULL).id, PROBLEM_PRECONDITION);
    recipe.fill = 1;
    bool replaced = false;
    ck_assert_int_eq(put(registry, "m", recipe, NULL, &exact, &replaced).id, PROBLEM_NONE);
    ck_assert(replaced);
    ck_assert_int_eq(put(registry, "m", recipe, NULL, &exact, NULL).id, PROBLEM_PRECONDITION);
    struct problem problem;
    ck_assert(!registry_delete(registry, "m", &exact, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_PRECONDITION);
    ck_assert(registry_delete(registry, "m", &any, &problem));
    ck_assert(!registry_delete(registry, "m", &any, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_MODEL_NOT_FOUND);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(a_model_in_use_outlives_its_replacement_and_removal) {
    struct problem problem;
    make_directory();
    struct registry *registry = start();
    struct recipe recipe = RECIPE;
    recipe.fill = 0x3F;
    put(registry, "o/m", recipe, NULL, NULL, NULL);
    const struct model *first = acquire(registry, "o/m");
    recipe.fill = 0x40;
    put(registry, "o/m", recipe, NULL, NULL, NULL);
    const struct model *second = acquire(registry, "o/m");
    ck_assert(registry_delete(registry, "o/m", NULL, &problem));
    ck_assert_int_eq(acquire_problem(registry, "o/m"), PROBLEM_MODEL_NOT_FOUND);
    ck_assert_int_ne(access(in_directory("o"), F_OK), 0);
    ck_assert_float_eq(first_weight(first), 0.747058809F);
    ck_assert_float_eq(first_weight(second), 3.00392151F);
    registry_release(registry, first);
    registry_release(registry, second);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(models_given_by_flag_are_read_only) {
    struct problem problem;
    make_directory();
    make_folder("models");
    write_layer(in_directory("file"), (struct recipe)RECIPE);
    struct registry_named named[] = {{"given", in_directory("file")}};
    struct registry_options options = {.directory = in_directory("models"), .named = named, .named_count = 1};
    struct registry *registry = registry_create(&options, &problem);
    ck_assert_ptr_nonnull(registry);
    ck_assert_uint_eq(await_settled(registry), 0);
    const struct model *model = acquire(registry, "given");
    ck_assert(model->is_read_only);
    registry_release(registry, model);
    ck_assert_int_eq(put(registry, "given", (struct recipe)RECIPE, NULL, NULL, NULL).id, PROBLEM_CONFLICT);
    ck_assert(!registry_delete(registry, "given", NULL, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_CONFLICT);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(a_broken_folder_can_be_replaced_and_removed_but_not_written_into) {
    struct problem problem;
    make_directory();
    make_folder("bert");
    write_bytes(in_directory("bert/config.json"), "{}", 2);
    struct registry *registry = start();
    await_settled(registry);
    ck_assert_int_eq(put(registry, "bert/x", (struct recipe)RECIPE, NULL, NULL, NULL).id, PROBLEM_CONFLICT);
    ck_assert_int_eq(put(registry, "bert", (struct recipe)RECIPE, NULL, NULL, NULL).id, PROBLEM_NONE);
    ck_assert_int_ne(access(in_directory("bert"), F_OK), 0);
    make_folder("bert");
    write_bytes(in_directory("bert/config.json"), "{}", 2);
    ck_assert(registry_delete(registry, "bert", NULL, &problem));
    ck_assert_int_ne(access(in_directory("bert"), F_OK), 0);
    ck_assert_int_ne(access(in_directory("bert.safetensors"), F_OK), 0);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(without_a_directory_uploads_are_refused) {
    struct registry_options options = {.directory = NULL};
    struct problem problem;
    char *path;
    struct registry *registry = registry_create(&options, &problem);
    ck_assert_uint_eq(await_settled(registry), 0);
    ck_assert_int_eq(registry_upload_open(registry, &path, &problem), -1);
    ck_assert_int_eq(problem.id, PROBLEM_CONFLICT);
    registry_destroy(registry);
    options.directory = "/nowhere/at/all";
    ck_assert_ptr_null(registry_create(&options, &problem));
    ck_assert_int_eq(problem.id, PROBLEM_INVALID);
}
END_TEST

START_TEST(a_rescan_finds_new_changed_and_removed_files) {
    make_directory();
    write_layer(in_directory("kept.safetensors"), (struct recipe)RECIPE);
    write_layer(in_directory("changed.safetensors"), (struct recipe)RECIPE);
    write_layer(in_directory("gone.safetensors"), (struct recipe)RECIPE);
    struct registry *registry = start();
    await_settled(registry);
    const struct model *kept = acquire(registry, "kept"), *changed = acquire(registry, "changed");
    write_layer(in_directory("new.safetensors"), (struct recipe)RECIPE);
    write_layer(in_directory("tmp"), (struct recipe){8, ATTN_FLOAT32, "4", 0, 0});
    ck_assert_int_eq(rename(in_directory("tmp"), in_directory("changed.safetensors")), 0);
    ck_assert_int_eq(unlink(in_directory("gone.safetensors")), 0);
    registry_rescan(registry);
    const struct model *kept_now = acquire(registry, "kept"), *changed_now = acquire(registry, "changed");
    ck_assert_ptr_eq(kept, kept_now);
    ck_assert_ptr_ne(changed, changed_now);
    ck_assert_uint_eq(changed->heads, 2);
    ck_assert_uint_eq(changed_now->heads, 4);
    ck_assert_int_eq(acquire_problem(registry, "new"), PROBLEM_NONE);
    ck_assert_int_eq(acquire_problem(registry, "gone"), PROBLEM_MODEL_NOT_FOUND);
    registry_release(registry, kept);
    registry_release(registry, kept_now);
    registry_release(registry, changed);
    registry_release(registry, changed_now);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(a_file_cut_short_under_use_breaks_the_model_alone) {
    make_directory();
    write_layer(in_directory("m.safetensors"), (struct recipe){256, ATTN_FLOAT32, "2", 0x3F, 0});
    struct registry *registry = start();
    await_settled(registry);
    const struct model *model = acquire(registry, "m");
    const float *bias = model->layer.out_bias.data; /* behind more than a page of weights */
    ck_assert(!registry_model_is_broken(model));
    ck_assert_int_eq(truncate(in_directory("m.safetensors"), 4096), 0);
    ck_assert_float_eq(bias[0], 0);
    ck_assert(registry_model_is_broken(model));
    const struct model *now = acquire(registry, "m");
    ck_assert_int_eq(now->status, MODEL_FAILED);
    ck_assert_str_eq(now->reason, "the model's file was cut short while it was in use");
    registry_release(registry, now);
    registry_release(registry, model);
    write_layer(in_directory("m.safetensors"), (struct recipe)RECIPE);
    registry_rescan(registry);
    now = acquire(registry, "m");
    ck_assert_int_eq(now->status, MODEL_READY);
    registry_release(registry, now);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

/* Runs in a child: a mapping that is no model's. */
static void fault_elsewhere(void) {
    int fd = open(in_directory("other"), O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, 8192) != 0)
        _exit(1);
    const volatile char *bytes = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
    if (ftruncate(fd, 0) != 0)
        _exit(2);
    _exit(bytes[4096] + 3);
}

START_TEST(a_bus_error_elsewhere_still_ends_the_process) {
    make_directory();
    write_layer(in_directory("m.safetensors"), (struct recipe)RECIPE);
    struct registry *registry = start();
    await_settled(registry);
    int status;
    pid_t child = fork();
    if (child == 0)
        fault_elsewhere();
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGBUS);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

START_TEST(what_a_killed_server_left_is_cleaned_and_what_another_writes_is_not) {
    struct problem problem;
    char *path;
    make_directory();
    struct registry *registry = start();
    int fd = registry_upload_open(registry, &path, &problem);
    ck_assert_int_ge(fd, 0);
    write_bytes(in_directory(".uploads/upload-left"), "x", 1);
    ck_assert_uint_eq(count_uploads(), 2);
    struct registry *second = start();
    ck_assert_uint_eq(count_uploads(), 1);
    ck_assert_int_eq(access(path, F_OK), 0);
    registry_destroy(second);
    close(fd);
    free(path);
    registry_destroy(registry);
    registry = start();
    ck_assert_uint_eq(count_uploads(), 0);
    registry_destroy(registry);
    remove_directory();
}
END_TEST

/* A child replaces a model over and over; it is killed at a moment that the clock picks; the model is whole. */
START_TEST(a_writer_killed_at_any_moment_leaves_a_whole_model) {
    make_directory();
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        if (child == 0) {
            struct registry *registry = start();
            for (unsigned char fill = 0;; fill++)
                put(registry, "m", (struct recipe){64, ATTN_FLOAT32, "2", fill, 0}, NULL, NULL, NULL);
        }
        nanosleep(&(struct timespec){.tv_nsec = 3000000 + round * 777777}, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        struct registry *registry = start();
        ck_assert_uint_eq(await_settled(registry), 0);
        const struct model **models;
        size_t count = registry_list(registry, &models), length;
        for (size_t i = 0; i < count; i++) {
            const unsigned char *bytes = attn_safetensors_bytes(models[i]->file, &length);
            for (size_t at = length - 64 * 64 * 16; at < length; at++)
                ck_assert_uint_eq(bytes[at], bytes[length - 1]);
            registry_release(registry, models[i]);
        }
        ck_assert_uint_le(count, 1);
        ck_assert_uint_eq(count_uploads(), 0);
        free(models);
        registry_destroy(registry);
    }
    remove_directory();
}
END_TEST

struct crowd {
    struct registry *registry;
    atomic_bool is_over;
};

static void *read_models(void *argument) {
    struct crowd *crowd = argument;
    while (!atomic_load(&crowd->is_over)) {
        struct problem problem;
        const struct model *model = registry_acquire(crowd->registry, "m", &problem);
        const struct model **models;
        size_t count = registry_list(crowd->registry, &models);
        for (size_t i = 0; i < count; i++)
            registry_release(crowd->registry, models[i]);
        free(models);
        if (model == NULL)
            continue;
        const float *weights = model->layer.q_weight.data;
        for (size_t i = 1; i < 64; i++)
            if (memcmp(&weights[i], &weights[0], sizeof *weights) != 0)
                abort();
        registry_model_sha256(model);
        registry_release(crowd->registry, model);
    }
    return NULL;
}

START_TEST(reading_replacing_removing_and_rescanning_go_together) {
    pthread_t readers[3];
    make_directory();
    struct crowd crowd = {.registry = start()};
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_models, &crowd), 0);
    for (unsigned char round = 0; round < 60; round++) {
        struct problem problem;
        struct recipe recipe = RECIPE;
        recipe.fill = round;
        ck_assert_int_eq(put(crowd.registry, "m", recipe, NULL, NULL, NULL).id, PROBLEM_NONE);
        if (round % 5 == 0)
            ck_assert(registry_delete(crowd.registry, "m", NULL, &problem));
        if (round % 7 == 0)
            registry_rescan(crowd.registry);
    }
    atomic_store(&crowd.is_over, true);
    for (size_t i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    registry_destroy(crowd.registry);
    remove_directory();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("registry");
    TCase *models = tcase_create("models");
    tcase_set_timeout(models, 60);
    tcase_add_test(models, ids_are_one_or_two_plain_names);
    tcase_add_test(models, layers_in_the_directory_are_loaded_and_described);
    tcase_add_test(models, the_hash_is_the_files_sha256);
    tcase_add_test(models, what_cannot_be_loaded_is_listed_as_failed_with_its_reason);
    tcase_add_test(models, weights_are_used_in_place_and_copied_only_where_they_must_be);
    tcase_add_test(models, misaligned_weights_are_copied);
    tcase_add_test(models, an_upload_is_there_after_a_restart_with_the_settings_it_was_given);
    tcase_add_test(models, a_refused_upload_leaves_the_old_model);
    tcase_add_test(models, conditions_decide_over_writes);
    tcase_add_test(models, a_model_in_use_outlives_its_replacement_and_removal);
    tcase_add_test(models, models_given_by_flag_are_read_only);
    tcase_add_test(models, a_broken_folder_can_be_replaced_and_removed_but_not_written_into);
    tcase_add_test(models, without_a_directory_uploads_are_refused);
    tcase_add_test(models, a_rescan_finds_new_changed_and_removed_files);
    tcase_add_test(models, a_file_cut_short_under_use_breaks_the_model_alone);
    tcase_add_test(models, a_bus_error_elsewhere_still_ends_the_process);
    tcase_add_test(models, what_a_killed_server_left_is_cleaned_and_what_another_writes_is_not);
    tcase_add_test(models, a_writer_killed_at_any_moment_leaves_a_whole_model);
    tcase_add_test(models, reading_replacing_removing_and_rescanning_go_together);
    suite_add_tcase(suite, models);
    return run_suite(suite);
}
