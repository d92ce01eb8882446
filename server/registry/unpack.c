#include "server/registry/unpack.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How much is copied before the archive's room is given back. */
#define STEP_BYTES ((uint64_t)64 << 20)
#define PIECE_BYTES ((size_t)256 << 10)

static bool fail(struct problem *problem, const char *name) {
    int reason = errno;
    bool is_full = reason == ENOSPC || reason == EDQUOT || reason == EFBIG || reason == ENOMEM;
    problem_set(problem, is_full ? PROBLEM_NO_ROOM : PROBLEM_INTERNAL, NULL, "the file \"%.100s\" cannot be kept: %s",
                name, strerror(reason));
    return false;
}

/* For file systems between which the kernel does not copy. */
static ssize_t copy_by_hand(int from, off_t *at, int to, size_t bytes) {
    void *piece = malloc(PIECE_BYTES);
    ssize_t got = piece != NULL ? pread(from, piece, bytes < PIECE_BYTES ? bytes : PIECE_BYTES, *at) : -1;
    ssize_t written = got > 0 ? write(to, piece, (size_t)got) : got;
    free(piece);
    *at += written > 0 ? written : 0;
    return written;
}

static ssize_t copy_some(int from, off_t *at, int to, size_t bytes) {
    ssize_t copied = copy_file_range(from, at, to, NULL, bytes, 0);
    if (copied < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
        return copy_by_hand(from, at, to, bytes);
    return copied;
}

static bool copy_bytes(int from, uint64_t start, int to, uint64_t bytes) {
    off_t at = (off_t)start;
    for (uint64_t left = bytes; left > 0;) {
        off_t before = at;
        ssize_t copied = copy_some(from, &at, to, (size_t)(left < STEP_BYTES ? left : STEP_BYTES));
        if (copied < 0 && errno == EINTR)
            continue;
        if (copied == 0)
            errno = EIO;
        if (copied <= 0)
            return false;
        left -= (uint64_t)copied;
        (void)fallocate(from, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, before, copied);
    }
    return true;
}

static bool unpack_file(const struct tar_member *member, int archive_fd, int folder_fd, struct problem *problem) {
    int fd = openat(folder_fd, member->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return fail(problem, member->name);
    bool is_kept = copy_bytes(archive_fd, member->offset, fd, member->bytes) && fchmod(fd, 0644) == 0 && fsync(fd) == 0;
    if (!is_kept)
        fail(problem, member->name);
    if (close(fd) != 0 && is_kept)
        is_kept = fail(problem, member->name);
    return is_kept;
}

bool unpack(const struct tar *tar, int archive_fd, int folder_fd, struct problem *problem) {
    for (size_t i = 0; i < tar->count; i++)
        if (!unpack_file(&tar->members[i], archive_fd, folder_fd, problem))
            return false;
    return (fchmod(folder_fd, 0755) == 0 && fsync(folder_fd) == 0) || fail(problem, ".");
}
