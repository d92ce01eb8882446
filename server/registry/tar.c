/* Formats: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format"; GNU tar, "Basic Tar Format". */
#include "server/registry/tar.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 512
#define SWEEP_BYTES ((size_t)64 << 10)
/* What a pax header or a long name of GNU tar may hold. */
#define MOST_EXTENSION_BYTES ((uint64_t)1 << 20)

/* Where a header's fields are. */
enum { NAME_AT = 0, SIZE_AT = 124, SUM_AT = 148, TYPE_AT = 156, MAGIC_AT = 257, PREFIX_AT = 345 };
enum { NAME_LENGTH = 100, SIZE_LENGTH = 12, SUM_LENGTH = 8, PREFIX_LENGTH = 155 };

/* A path as an archive spells it, before it is known to be a plain name. */
#define PATH_BYTES 1024

/* What headers before a file's own say about it. */
struct extension {
    bool is_there, has_path, has_size;
    char path[PATH_BYTES];
    uint64_t size;
};

struct reader {
    int fd;
    uint64_t at, length; /* the next header; the archive's end */
    struct extension extension;
    struct tar *tar;
    struct problem *problem;
};

/* @return false, so that a caller can `return fail(…)`. */
ATTN_PRINTF(3, 4) static bool fail(struct reader *reader, uint64_t at, const char *format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    problem_set(reader->problem, PROBLEM_MALFORMED, NULL, "%s, at byte %" PRIu64, text, at);
    reader->problem->has_offset = true;
    reader->problem->offset = (size_t)at;
    return false;
}

/* The archive is a file that nobody else writes: what cannot be read of it is the disk's fault. */
static bool read_at(struct reader *reader, uint64_t at, void *to, size_t bytes) {
    unsigned char *next = to;
    while (bytes > 0) {
        ssize_t got = pread(reader->fd, next, bytes, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            problem_set(reader->problem, PROBLEM_INTERNAL, NULL, "the upload cannot be read: %s",
                        got < 0 ? strerror(errno) : "it was cut short");
            return false;
        }
        next += got;
        at += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return true;
}

static bool is_zero(const unsigned char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* Big-endian binary, marked by the first byte's top bit: GNU's way past 8 GiB. */
static bool parse_binary(const unsigned char *field, size_t width, uint64_t *value) {
    *value = field[0] & 0x3FU;
    if ((field[0] & 0x40) != 0) /* negative */
        return false;
    for (size_t i = 1; i < width; i++) {
        if (*value > (UINT64_MAX >> 9))
            return false;
        *value = *value << 8 | field[i];
    }
    return true;
}

/* Octal digits, with spaces before and a space or NUL behind unless they fill the field. */
static bool parse_number(const unsigned char *field, size_t width, uint64_t *value) {
    size_t at = 0, digits = 0;
    if ((field[0] & 0x80) != 0)
        return parse_binary(field, width, value);
    *value = 0;
    while (at < width && field[at] == ' ')
        at++;
    for (; at < width && field[at] >= '0' && field[at] <= '7'; at++, digits++)
        *value = *value << 3 | (uint64_t)(field[at] - '0');
    return digits > 0 && (at == width || field[at] == ' ' || field[at] == '\0');
}

static bool check_sum(struct reader *reader, const unsigned char *block) {
    uint64_t sum = 0, claimed = 0;
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        sum += i >= SUM_AT && i < SUM_AT + SUM_LENGTH ? ' ' : block[i];
    if (reader->at == 0 && block[0] == 0x1F && block[1] == 0x8B)
        return fail(reader, 0, "expected a tar header, found gzip's mark: expand the archive, or say Content-Encoding");
    if (!parse_number(block + SUM_AT, SUM_LENGTH, &claimed))
        return fail(reader, reader->at + SUM_AT, "expected a header's checksum in octal digits");
    return claimed == sum || fail(reader, reader->at + SUM_AT,
                                  "the header's checksum is %" PRIu64 ", its bytes sum to %" PRIu64, claimed, sum);
}

/* A name that can stand in an error's text. */
struct shown {
    char text[100];
};

static bool is_printable(char character) {
    return character >= ' ' && character <= '~';
}

static struct shown show(const char *path) {
    struct shown shown;
    snprintf(shown.text, sizeof shown.text, "%s", path);
    for (char *at = shown.text; *at != '\0'; at++)
        *at = is_printable(*at) ? *at : '?';
    return shown;
}

static bool is_all_printable(const char *text) {
    while (is_printable(*text))
        text++;
    return *text == '\0';
}

static bool has_dots(const char *path) {
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (strcmp(part, "..") == 0 || strncmp(part, "../", 3) == 0)
            return true;
    }
    return false;
}

/* Leaves out "./" at the front, which `tar -C folder .` puts there. @return NULL with the problem filled. */
static const char *check_path(struct reader *reader, const char *path) {
    struct shown shown = show(path);
    const char *name = path;
    if (path[0] == '/')
        fail(reader, reader->at, "expected names without a folder, found the absolute path \"%s\"", shown.text);
    else if (has_dots(path))
        fail(reader, reader->at, "expected names without a folder, found \"..\" in \"%s\"", shown.text);
    else {
        while (name[0] == '.' && name[1] == '/')
            name += 1 + strspn(name + 1, "/");
        return name;
    }
    return NULL;
}

static bool is_folder_itself(const char *name) {
    return name[0] == '\0' || strcmp(name, ".") == 0;
}

/* A file's name, as it may stand on the disk. */
static const char *check_name(struct reader *reader, const char *path) {
    const char *name = check_path(reader, path);
    struct shown shown = show(path);
    if (name == NULL)
        return NULL;
    if (strchr(name, '/') != NULL)
        fail(reader, reader->at, "expected files in one flat directory, found \"%s\" in a sub-directory", shown.text);
    else if (is_folder_itself(name))
        fail(reader, reader->at, "expected a file's name, found \"%s\"", shown.text);
    else if (strlen(name) >= TAR_NAME_BYTES)
        fail(reader, reader->at, "expected a name of at most %d bytes, found \"%s...\"", TAR_NAME_BYTES - 1,
             shown.text);
    else if (!is_all_printable(name))
        fail(reader, reader->at, "expected a name in printable ASCII, found \"%s\"", shown.text);
    else if (tar_find(reader->tar, name) != NULL)
        fail(reader, reader->at, "the file \"%s\" is there twice", shown.text);
    else
        return name;
    return NULL;
}

static bool add_member(struct reader *reader, const char *name, uint64_t bytes) {
    struct tar *tar = reader->tar;
    if (tar->count == TAR_MOST_FILES)
        return fail(reader, reader->at, "expected at most %d files", TAR_MOST_FILES);
    if (tar->count == tar->capacity) {
        size_t capacity = tar->capacity == 0 ? 16 : tar->capacity * 2;
        struct tar_member *members = reallocarray(tar->members, capacity, sizeof *members);
        if (members == NULL) {
            problem_set(reader->problem, PROBLEM_NO_ROOM, NULL, "no memory for the archive's names");
            return false;
        }
        tar->members = members;
        tar->capacity = capacity;
    }
    struct tar_member *member = &tar->members[tar->count++];
    memset(member, 0, sizeof *member);
    memcpy(member->name, name, strlen(name));
    member->offset = reader->at + BLOCK_BYTES;
    member->bytes = bytes;
    return true;
}

/* Whether so many bytes are behind the header, and the zeros that fill the last block. */
static bool check_data(struct reader *reader, uint64_t bytes, uint64_t *next) {
    uint64_t data = reader->at + BLOCK_BYTES, left = reader->length - data;
    uint64_t padding = (BLOCK_BYTES - bytes % BLOCK_BYTES) % BLOCK_BYTES;
    if (bytes > left || padding > left - bytes)
        return fail(reader, reader->length,
                    "expected %" PRIu64 " bytes behind the header at byte %" PRIu64
                    " and zeros to a multiple of %d, found %" PRIu64,
                    bytes, reader->at, BLOCK_BYTES, left);
    *next = data + bytes + padding;
    return true;
}

/* One record of a pax header, "27 path=a-file-of-the-model\n". */
struct record {
    const char *key, *value;
    size_t key_length, value_length;
};

static bool parse_record(const char *text, size_t length, struct record *record, size_t *record_length) {
    size_t at = 0, claimed = 0;
    for (; at < length && at < 8 && text[at] >= '0' && text[at] <= '9'; at++)
        claimed = claimed * 10 + (size_t)(text[at] - '0');
    if (at == 0 || at == length || text[at] != ' ' || claimed > length || claimed < at + 3 || text[claimed - 1] != '\n')
        return false;
    const char *key = text + at + 1, *equals = memchr(key, '=', claimed - at - 2);
    if (equals == NULL)
        return false;
    *record = (struct record){key, equals + 1, (size_t)(equals - key), (size_t)(text + claimed - 1 - (equals + 1))};
    *record_length = claimed;
    return true;
}

static bool is_key(const struct record *record, const char *key) {
    return record->key_length == strlen(key) && memcmp(record->key, key, record->key_length) == 0;
}

static bool take_path(struct reader *reader, const char *path, size_t length, uint64_t at) {
    struct extension *extension = &reader->extension;
    if (length >= PATH_BYTES || memchr(path, '\0', length) != NULL)
        return fail(reader, at, "expected a path of at most %d bytes without NULs", PATH_BYTES - 1);
    memcpy(extension->path, path, length);
    extension->path[length] = '\0';
    extension->has_path = true;
    return true;
}

static bool take_size(struct reader *reader, const struct record *record, uint64_t at) {
    uint64_t size = 0;
    bool is_number = record->value_length >= 1 && record->value_length <= 18;
    for (size_t i = 0; i < record->value_length && is_number; i++) {
        is_number = record->value[i] >= '0' && record->value[i] <= '9';
        size = size * 10 + (uint64_t)(record->value[i] - '0');
    }
    reader->extension.has_size = true;
    reader->extension.size = size;
    return is_number || fail(reader, at, "expected a size in decimal digits in the pax header");
}

/* Times, owners and the like are not kept. */
static bool take_record(struct reader *reader, const struct record *record, bool is_global, uint64_t at) {
    static const char sparse[] = "GNU.sparse.";
    if (record->key_length >= strlen(sparse) && memcmp(record->key, sparse, strlen(sparse)) == 0)
        return fail(reader, at, "expected regular files, found a sparse one");
    if (!is_key(record, "path") && !is_key(record, "size"))
        return true;
    if (is_global)
        return fail(reader, at, "a global pax header cannot give all files one path or size");
    return is_key(record, "path") ? take_path(reader, record->value, record->value_length, at)
                                  : take_size(reader, record, at);
}

static bool take_records(struct reader *reader, const char *text, size_t length, bool is_global) {
    struct record record;
    for (size_t at = 0, record_length; at < length; at += record_length) {
        uint64_t place = reader->at + BLOCK_BYTES + at;
        if (!parse_record(text + at, length - at, &record, &record_length))
            return fail(reader, place, "expected a pax record, \"length key=value\" and a line's end");
        if (!take_record(reader, &record, is_global, place))
            return false;
    }
    return true;
}

/* A header that is about the file behind it (or about all): pax's 'x' and 'g', GNU's 'L'. */
static bool read_extension(struct reader *reader, char type, uint64_t bytes, uint64_t *next) {
    if (bytes > MOST_EXTENSION_BYTES)
        return fail(reader, reader->at + SIZE_AT,
                    "expected at most %" PRIu64 " bytes in an extended header, found %" PRIu64, MOST_EXTENSION_BYTES,
                    bytes);
    if (!check_data(reader, bytes, next))
        return false;
    char *text = malloc((size_t)bytes + 1);
    if (text == NULL) {
        problem_set(reader->problem, PROBLEM_NO_ROOM, NULL, "no memory for the archive's names");
        return false;
    }
    bool is_taken = read_at(reader, reader->at + BLOCK_BYTES, text, (size_t)bytes);
    if (is_taken && type == 'L')
        is_taken = take_path(reader, text, strnlen(text, (size_t)bytes), reader->at + BLOCK_BYTES);
    else if (is_taken)
        is_taken = take_records(reader, text, (size_t)bytes, type == 'g');
    reader->extension.is_there = reader->extension.is_there || type != 'g';
    free(text);
    return is_taken;
}

/* The path of the header itself. Only POSIX's has a prefix: GNU keeps times there. */
static void header_path(const unsigned char *block, char *path) {
    const char *name = (const char *)block + NAME_AT, *prefix = (const char *)block + PREFIX_AT;
    int name_length = (int)strnlen(name, NAME_LENGTH), prefix_length = (int)strnlen(prefix, PREFIX_LENGTH);
    if (memcmp(block + MAGIC_AT, "ustar", 6) != 0 || prefix_length == 0)
        snprintf(path, PATH_BYTES, "%.*s", name_length, name);
    else
        snprintf(path, PATH_BYTES, "%.*s/%.*s", prefix_length, prefix, name_length, name);
}

static const char *type_name(char type) {
    static const char *const names[] = {
        ['1'] = "a hard link",   ['2'] = "a symbolic link",  ['3'] = "a device",
        ['4'] = "a device",      ['6'] = "a fifo",           ['K'] = "a link",
        ['S'] = "a sparse file", ['M'] = "a part of a file", ['V'] = "a volume's label"};
    size_t index = (unsigned char)type;
    return index < sizeof names / sizeof *names && names[index] != NULL ? names[index] : "an entry of an unknown type";
}

static bool read_folder(struct reader *reader, const char *path) {
    const char *name = check_path(reader, path);
    if (name == NULL || is_folder_itself(name))
        return name != NULL;
    return fail(reader, reader->at, "expected files in one flat directory, found the sub-directory \"%s\"",
                show(path).text);
}

static bool read_member(struct reader *reader, const unsigned char *block, uint64_t bytes, uint64_t *next) {
    char type = (char)block[TYPE_AT], path[PATH_BYTES];
    header_path(block, path);
    if (reader->extension.has_path)
        memcpy(path, reader->extension.path, PATH_BYTES);
    if (reader->extension.has_size)
        bytes = reader->extension.size;
    reader->extension = (struct extension){.is_there = false};
    *next = reader->at + BLOCK_BYTES; /* a folder has no data, whatever size it says */
    if (type == '5')
        return read_folder(reader, path);
    if (type != '0' && type != '\0' && type != '7')
        return fail(reader, reader->at + TYPE_AT, "expected regular files, found %s: \"%s\"", type_name(type),
                    show(path).text);
    const char *name = check_name(reader, path);
    return name != NULL && check_data(reader, bytes, next) && add_member(reader, name, bytes);
}

/* Behind the first block of zeros: another, and nothing but zeros. */
static bool read_end(struct reader *reader) {
    static const char expected[] = "expected two blocks of zeros and nothing behind them at the archive's end";
    unsigned char *piece = malloc(SWEEP_BYTES);
    if (piece == NULL) {
        problem_set(reader->problem, PROBLEM_NO_ROOM, NULL, "no memory to read the archive");
        return false;
    }
    bool is_fine = !reader->extension.is_there || fail(reader, reader->at, "an extended header has no file behind it");
    if (is_fine && reader->length - reader->at < 2 * BLOCK_BYTES)
        is_fine = fail(reader, reader->length, "%s", expected);
    for (uint64_t at = reader->at; is_fine && at < reader->length;) {
        size_t bytes = reader->length - at < SWEEP_BYTES ? (size_t)(reader->length - at) : SWEEP_BYTES;
        is_fine = read_at(reader, at, piece, bytes) && (is_zero(piece, bytes) || fail(reader, at, "%s", expected));
        at += bytes;
    }
    free(piece);
    return is_fine;
}

bool tar_read(struct tar *tar, int fd, struct problem *problem) {
    struct stat about;
    if (fstat(fd, &about) != 0) {
        problem_set(problem, PROBLEM_INTERNAL, NULL, "the upload cannot be read: %s", strerror(errno));
        return false;
    }
    struct reader reader = {.fd = fd, .length = (uint64_t)about.st_size, .tar = tar, .problem = problem};
    for (uint64_t next = 0;; reader.at = next) {
        unsigned char block[BLOCK_BYTES];
        uint64_t bytes = 0;
        if (reader.length - reader.at < BLOCK_BYTES)
            return fail(&reader, reader.length, "expected a header or the end's zeros, %d bytes, found %" PRIu64,
                        BLOCK_BYTES, reader.length - reader.at);
        if (!read_at(&reader, reader.at, block, sizeof block))
            return false;
        if (is_zero(block, sizeof block))
            return read_end(&reader);
        if (!check_sum(&reader, block))
            return false;
        if (!parse_number(block + SIZE_AT, SIZE_LENGTH, &bytes))
            return fail(&reader, reader.at + SIZE_AT, "expected a file's size in octal digits");
        char type = (char)block[TYPE_AT];
        bool is_extension = type == 'x' || type == 'g' || type == 'L';
        if (!(is_extension ? read_extension(&reader, type, bytes, &next) : read_member(&reader, block, bytes, &next)))
            return false;
    }
}

const struct tar_member *tar_find(const struct tar *tar, const char *name) {
    for (size_t i = 0; i < tar->count; i++)
        if (strcmp(tar->members[i].name, name) == 0)
            return &tar->members[i];
    return NULL;
}

void tar_reset(struct tar *tar) {
    free(tar->members);
    *tar = (struct tar){NULL, 0, 0};
}
