/* libFuzzer target: any bytes are read as an archive or refused; every file of one lies within them, under a plain
 * name. */
#include "server/registry/tar.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_member(const struct tar *tar, const struct tar_member *member, size_t length) {
    if (member->offset > length || member->bytes > length - member->offset || member->name[0] == '\0' ||
        strchr(member->name, '/') != NULL || strcmp(member->name, ".") == 0 || strcmp(member->name, "..") == 0 ||
        tar_find(tar, member->name) != member)
        abort();
}

/* A wrong checksum would end nearly every run at once: in a block that ends in 0xFE it is put right. */
static void mend_sums(uint8_t *bytes, size_t length) {
    for (uint8_t *block = bytes; (size_t)(block - bytes) + 512 <= length; block += 512) {
        unsigned sum = 8 * ' ';
        if (block[511] != 0xFE)
            continue;
        for (size_t i = 0; i < 512; i++)
            sum += i >= 148 && i < 156 ? 0 : block[i];
        for (size_t i = 0; i < 6; i++)
            block[148 + i] = (uint8_t)('0' + (sum >> (3 * (5 - i)) & 7));
        block[154] = '\0';
        block[155] = ' ';
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct tar tar = {NULL, 0, 0};
    struct problem problem = {.id = PROBLEM_NONE};
    int fd = memfd_create("tar", MFD_CLOEXEC);
    uint8_t *copy = malloc(length + 1);
    if (fd < 0 || copy == NULL)
        abort();
    memcpy(copy, bytes, length);
    mend_sums(copy, length);
    if (write(fd, copy, length) != (ssize_t)length)
        abort();
    bool is_read = tar_read(&tar, fd, &problem);
    if (!is_read && (problem.id != PROBLEM_MALFORMED || !problem.has_offset || problem.offset > length))
        abort();
    for (size_t i = 0; is_read && i < tar.count; i++)
        check_member(&tar, &tar.members[i], length);
    tar_reset(&tar);
    free(copy);
    close(fd);
    return 0;
}
